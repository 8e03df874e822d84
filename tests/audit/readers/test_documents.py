"""Whole documents, short, with all that is read of them: lines, names, sets, sizes, doubts, what is no value."""

import pytest

from in4310repro.audit.readers import read
from tests.audit.readers.described import everything

# A text, a line of ----, and what is read of it.
DOCUMENTS = {
    "a report of sklearn's in a comment, below other lines": """
# Results on the validation set
The second network:
#               precision    recall  f1-score   support
#
#        dune       0.81      0.83      0.82       100
#    blue bay       0.89      0.91      0.90       200
#
#    accuracy                           0.88       300
#   macro avg       0.85      0.87      0.86       300
# weighted avg      0.86      0.88      0.87       300

Accuracy of sea: 0.7
----
as classification_report, label lines
The second network | sizes {'dune': 100, 'blue bay': 200} | total 300
  5 dune precision 0.81 (dune precision)
  5 dune recall 0.83 (dune recall)
  5 dune F1 0.82 (dune f1-score)
  6 blue bay precision 0.89 (blue bay precision)
  6 blue bay recall 0.91 (blue bay recall)
  6 blue bay F1 0.90 (blue bay f1-score)
  8 <overall> accuracy 0.88 (accuracy f1-score)
  9 <macro> precision 0.85 (macro avg precision)
  9 <macro> recall 0.87 (macro avg recall)
  9 <macro> F1 0.86 (macro avg f1-score)
  10 <weighted> precision 0.86 (weighted avg precision)
  10 <weighted> recall 0.88 (weighted avg recall)
  10 <weighted> F1 0.87 (weighted avg f1-score)
the table from line 12
  12 sea accuracy 0.7 (Accuracy of sea)
""",
    "Weka's tables": """
=== Detailed Accuracy By Class ===

                 Precision  Recall   F-Measure  Class
                 0.947      0.900    0.923      dune
                 0.818      0.900    0.857      blue bay
Weighted Avg.    0.904      0.900    0.901

=== Confusion Matrix ===

  a  b   <-- classified as
 18  2 |  a = dune
  1  9 |  b = blue bay
----
as aligned table
Detailed Accuracy By Class
  4 dune precision 0.947 (dune Precision)
  4 dune recall 0.900 (dune Recall)
  4 dune F1 0.923 (dune F-Measure)
  5 blue bay precision 0.818 (blue bay Precision)
  5 blue bay recall 0.900 (blue bay Recall)
  5 blue bay F1 0.857 (blue bay F-Measure)
  6 <weighted> precision 0.904 (Weighted Avg. Precision)
  6 <weighted> recall 0.900 (Weighted Avg. Recall)
  6 <weighted> F1 0.901 (Weighted Avg. F-Measure)
  11 counts of dune, blue bay: 18 2; 1 9
""",
    "spaces: a summary in the columns that it stands under": """
Class       Accuracy   Precision   Images
dune            0.83        0.85      100
bay             0.91         n/a      200
Mean                        0.87
=====
Note:  0.3
----
as aligned table
the table from line 1 | sizes {'dune': 100, 'bay': 200}
  2 dune accuracy 0.83 (dune Accuracy)
  2 dune precision 0.85 (dune Precision)
  3 bay accuracy 0.91 (bay Accuracy)
  4 <unnamed> precision 0.87 (Mean Precision)
""",
    "YOLO's table and its bar": """
val: start
   Class  Images  Instances  Box(P      R  mAP50  mAP50-95): 100%|##| 2/2 [00:01]
     all      40        120  0.856  0.789  0.832  0.545
blue dune     30         45  0.883  0.822  0.871  0.592
     bay      20         75  0.829  0.756  0.793  0.498
Speed: 0.1ms
----
as aligned table
val: start · val | set val | sizes {'blue dune': 45, 'bay': 75} | total 120 | boxes True
  3 <unnamed> precision 0.856 (all P)
  3 <unnamed> recall 0.789 (all R)
  3 <macro> average precision 0.832 (all mAP50)
  4 blue dune precision 0.883 (blue dune P)
  4 blue dune recall 0.822 (blue dune R)
  4 blue dune average precision 0.871 (blue dune mAP50)
  5 bay precision 0.829 (bay P)
  5 bay recall 0.756 (bay R)
  5 bay average precision 0.793 (bay mAP50)
val: start · mAP50-95 · val | set val | sizes {'blue dune': 45, 'bay': 75} | total 120 | boxes True
  3 <macro> average precision 0.545 (all mAP50-95)
  4 blue dune average precision 0.592 (blue dune mAP50-95)
  5 bay average precision 0.498 (bay mAP50-95)
""",
    "numpy's matrix": """
Test accuracy: 0.9
Confusion matrix:
[[18  2]
 [ 1  9]]
----
as confusion matrix
Confusion matrix | set test
  1 <overall> accuracy 0.9 (Test accuracy)
  3 counts of 0, 1: 18 2; 1 9
""",
    "lists and shares": """
[[0.9, 0.1],
 [0.25, 0.75]]
[[1, 2, 3], [4, 5, 6]]
[[5, 1], [2, 7]]
----
as confusion matrix
the confusion matrix from line 1
  1 shares of 0, 1: 0.9 0.1; 0.25 0.75
the confusion matrix from line 4
  4 counts of 0, 1: 5 1; 2 7
""",
    "pandas' matrix with totals and the word for rows": """
Predicted  dune  bay  All
Actual
dune         18    2   20
bay           1    9   10
All          19   11   30
----
as confusion matrix
the confusion matrix from line 1
  3 counts of dune, bay: 18 2; 1 9
""",
    "R's matrix has predictions in rows": """
          Reference
Prediction dune bay
      dune   18   1
      bay     2   9
----
as confusion matrix
the confusion matrix from line 2
  3 counts of dune, bay: 18 2; 1 9
""",
    "Torch7's matrix": """
ConfusionMatrix:
[[      18       2]   90.000% \t[class: dune]
 [       1       9]]  90.000% \t[class: blue bay]
----
as confusion matrix
ConfusionMatrix
  2 counts of dune, blue bay: 18 2; 1 9
""",
    "numbers alone": """
Confusion matrix of the test set

18 2
1 9
and more
----
as confusion matrix
Confusion matrix of the test set
  3 counts of 0, 1: 18 2; 1 9
""",
    "a matrix in Markdown": """
## Matrix

| Predicted \\\\ Actual | dune | bay | Total |
|---|---|---|---|
| dune | 18 | 1 | 19 |
| bay | 2 | 9 | 11 |
----
as confusion matrix
Matrix
  5 counts of dune, bay: 18 2; 1 9
""",
    "a report and its matrix, turned": """
| Class | Recall | Samples |
|---|---|---|
| dune | 0.90 | 20 |
| bay | 0.90 | 10 |

[[18 1]
 [2 9]]
----
as Markdown table
the table from line 1 | sizes {'dune': 20, 'bay': 10}
  3 dune recall 0.90 (dune Recall)
  4 bay recall 0.90 (bay Recall)
  6 counts of dune, bay: 18 2; 1 9
""",
    "networks and sets side by side": """
**Table 2: per class**

| Class | Images | ours val accuracy | ours test accuracy | CNN test accuracy (%) |
|---|---|---|---|---|
| dune | 100 | 0.83 | 0.81 | 79.5 ± 0.4 |
| bay | 200 | 0.91 | 0.90 | 88 (176/200) |
| std | | 0.04 | 0.05 | 4.2 |
| Macro avg | 300 | 0.87 | 0.855 | 83.8 |
----
as Markdown table
Table 2: per class · ours · val | set val | sizes {'dune': 100, 'bay': 200} | total 300
  5 dune accuracy 0.83 (dune ours val accuracy)
  6 bay accuracy 0.91 (bay ours val accuracy)
  8 <macro> accuracy 0.87 (Macro avg ours val accuracy)
  aside 7 std accuracy 0.04 (std ours val accuracy)
Table 2: per class · ours · test | set test | sizes {'dune': 100, 'bay': 200} | total 300
  5 dune accuracy 0.81 (dune ours test accuracy)
  6 bay accuracy 0.90 (bay ours test accuracy)
  8 <macro> accuracy 0.855 (Macro avg ours test accuracy)
  aside 7 std accuracy 0.05 (std ours test accuracy)
Table 2: per class · CNN · test | set test | sizes {'bay': 200, 'dune': 100} | total 300
  5 dune accuracy 79.5 % ±0.4 (dune CNN test accuracy (%))
  6 bay accuracy 88 % 176 of 200 (bay CNN test accuracy (%))
  8 <macro> accuracy 83.8 % (Macro avg CNN test accuracy (%))
  aside 7 std accuracy 4.2 % (std CNN test accuracy (%))
""",
    "sections": """
| Class | Accuracy |
|---|---|
| CNN | |
| dune | 0.83 |
| bay | 0.91 |
| mean | 0.87 |
| ViT | |
| dune | 0.85 |
| bay | 0.93 |
| mean | 0.89 |
----
as Markdown table
CNN
  4 dune accuracy 0.83 (dune Accuracy)
  5 bay accuracy 0.91 (bay Accuracy)
  6 <unnamed> accuracy 0.87 (mean Accuracy)
ViT
  8 dune accuracy 0.85 (dune Accuracy)
  9 bay accuracy 0.93 (bay Accuracy)
  10 <unnamed> accuracy 0.89 (mean Accuracy)
""",
    "two groups before the names": """
Model,Split,Class,Accuracy,Correct,Support
ours,val,dune,0.83,83,100
ours,val,bay,0.91,182,200
ours,test,dune,0.80,80,100
ours,test,bay,0.90,180,200
----
as delimited table
ours val | sizes {'dune': 100, 'bay': 200}
  2 dune accuracy 0.83 83 of 100 (dune Accuracy)
  3 bay accuracy 0.91 182 of 200 (bay Accuracy)
ours test | sizes {'dune': 100, 'bay': 200}
  4 dune accuracy 0.80 80 of 100 (dune Accuracy)
  5 bay accuracy 0.90 180 of 200 (bay Accuracy)
""",
    "boxes at two overlaps": """
| Class | GT | AP50 | AP75 |
|---|---|---|---|
| dune | 90 | 0.8 | 0.6 |
| bay | 50 | 0.7 | 0.5 |
| mAP50 | | 0.75 | |
| mAP75 | | | 0.55 |
----
as Markdown table
the table from line 1 | sizes {'dune': 90, 'bay': 50} | boxes True
  3 dune average precision 0.8 (dune AP50)
  4 bay average precision 0.7 (bay AP50)
  5 <macro> average precision 0.75 (mAP50 AP50)
AP75 | sizes {'dune': 90, 'bay': 50} | boxes True
  3 dune average precision 0.6 (dune AP75)
  4 bay average precision 0.5 (bay AP75)
  6 <macro> average precision 0.55 (mAP75 AP75)
""",
    "other cells": """
| Class | Accuracy | Δ |
|---|---|---|
| dune | **0.83** ↑ | +0.1 |
| bay | 0.9x | +0.2 |
| ... | ... | |
| Training mean | 0.99 | |
----
as Markdown table
the table from line 1 | partial True
  3 dune accuracy 0.83 (dune Accuracy)
unread 4 0.9x: no value in the row 'bay'
""",
    "label lines": """
Results on the test set
Accuracy of dune: 83 % (83/100)
Accuracy of bay: 91 % (182/200)
Accuracy of sea: 70.5 %
Average accuracy of bay and sea: 80 %
Std of accuracy: 4 %
Overall accuracy: 88 % (265/300)
Best validation accuracy: 0.93

Accuracy of dune: 85 %
Accuracy of bay: 93 %
Accuracy of sea: 77 %
Figure 3: the second network
----
as label lines
the table from line 2 | sizes {'dune': 100, 'bay': 200} | total 300
  2 dune accuracy 83 % 83 of 100 (Accuracy of dune)
  3 bay accuracy 91 % 182 of 200 (Accuracy of bay)
  4 sea accuracy 70.5 % (Accuracy of sea)
  7 <overall> accuracy 88 % 265 of 300 (Overall accuracy)
bay and sea
  5 <unnamed> accuracy 80 % (Average accuracy of bay and sea)
line 8: Best validation accuracy | set val
  8 <overall> accuracy 0.93 (Best validation accuracy)
Figure 3
  10 dune accuracy 85 % (Accuracy of dune)
  11 bay accuracy 93 % (Accuracy of bay)
  12 sea accuracy 77 % (Accuracy of sea)
unread 6 Std of accuracy: 4 %: looks like a measurement in a form that is not known
""",
    "lists of classes and networks": """
dune accuracy: 0.83
bay accuracy: 0.91
sea accuracy: 0.70
mAP: 0.81

ResNet accuracy: 0.9
----
as label lines
the table from line 1
  1 dune accuracy 0.83 (dune accuracy)
  2 bay accuracy 0.91 (bay accuracy)
  3 sea accuracy 0.70 (sea accuracy)
line 4: mAP
  4 <macro> average precision 0.81 (mAP)
ResNet
  6 <overall> accuracy 0.9 (ResNet accuracy)
""",
    "listed on one line": """
Class accuracy: {'dune': 0.83, 'bay': 0.91}
Precision per class: [0.8, 0.9]
mean: 0.87
----
as listed values
Class accuracy
  1 dune accuracy 0.83 (Class accuracy)
  1 bay accuracy 0.91 (Class accuracy)
Precision per class
  2 0 precision 0.8 (Precision per class)
  2 1 precision 0.9 (Precision per class)
""",
    "a log": """
Epoch 1/3 loss: 0.8 val accuracy: 0.1
Accuracy of dune: 0.81
Accuracy of bay: 0.91
Epoch 2/3 loss: 0.7 val accuracy: 0.2
Accuracy of dune: 0.82
Accuracy of bay: 0.92
Epoch 3/3 loss: 0.6 val accuracy: 0.3
Accuracy of dune: 0.83
Accuracy of bay: 0.93
Mean accuracy: 0.88
----
as label lines
the table from line 8
  8 dune accuracy 0.83 (Accuracy of dune)
  9 bay accuracy 0.93 (Accuracy of bay)
  10 <unnamed> accuracy 0.88 (Mean accuracy)
""",
    "separators in a text": """
We measured:

class;accuracy;samples
dune;0,83;100
"bay; blue";0,91;200

The other measure

Class\tF1
dune\t0.5
bay\t0.6
----
as delimited table
We measured | sizes {'dune': 100, 'bay; blue': 200}
  4 dune accuracy 0,83 (dune accuracy)
  5 bay; blue accuracy 0,91 (bay; blue accuracy)
The other measure
  10 dune F1 0.5 (dune F1)
  11 bay F1 0.6 (bay F1)
""",
    "HTML": """
<h2>Per class</h2>
<table><caption>Test set</caption><tr><th>Class</th><th colspan="2">CNN</th></tr>
<tr><th></th><th>Precision</th><th>Recall</th></tr>
<tr><td rowspan="1">dune</td><td>0.8</td><td>0.9</td></tr>
<tr><td>bay</td><td>0.7</td><td>0.6&nbsp;</td></tr>
</table>
<p>Overall accuracy: 0.75</p>
----
as HTML table
Test set · CNN · test | set test
  4 dune precision 0.8 (dune CNN Precision)
  4 dune recall 0.9 (dune CNN Recall)
  5 bay precision 0.7 (bay CNN Precision)
  5 bay recall 0.6 (bay CNN Recall)
  7 <overall> accuracy 0.75 (Overall accuracy)
""",
    "LaTeX": """
\\begin{table}
\\caption{Accuracy of each class.}
\\begin{tabular}{lcc}
\\toprule
Class & \\multicolumn{2}{c}{Accuracy} \\\\ \\cmidrule(lr){2-3}
 & CNN & ViT \\\\
\\midrule
dune & 91.2\\% & \\textbf{93.4\\%} \\\\
blue\\_bay & 81.2\\% & $83.4_{\\pm 0.2}$ \\\\ % 99.9
\\end{tabular}
\\end{table}
----
as LaTeX table
Accuracy of each class. · CNN
  8 dune accuracy 91.2% (dune Accuracy CNN)
  9 blue_bay accuracy 81.2% (blue_bay Accuracy CNN)
Accuracy of each class. · ViT
  8 dune accuracy 93.4% (dune Accuracy ViT)
  9 blue_bay accuracy 83.4 % ±0.2 (blue_bay Accuracy ViT)
""",
    "JSON": """
{
 "setting": "a",
 "test": {
  "classes": [
   "dune",
   "bay"
  ],
  "class_accuracy": [
   0.83,
   0.91
  ],
  "mean_accuracy": 0.87,
  "ap": {
   "dune": 0.8,
   "bay": 0.7
  },
  "confusion_matrix": [
   [
    18,
    2
   ],
   [
    1,
    9
   ]
  ],
  "support": {
   "dune": 20,
   "bay": 10
  }
 }
}
----
as JSON
test | set test | sizes {'dune': 20, 'bay': 10}
  9 dune accuracy 0.83 (dune)
  10 bay accuracy 0.91 (bay)
  12 <unnamed> accuracy 0.87 (mean_accuracy)
  14 dune average precision 0.8 (dune)
  15 bay average precision 0.7 (bay)
  19 counts of dune, bay: 18 2; 1 9
""",
    "a report of sklearn's in JSON": """
{
 "dune": {
  "precision": 0.8,
  "recall": 0.83,
  "f1-score": 0.81,
  "support": 100
 },
 "bay": {
  "precision": 0.9,
  "recall": 0.91,
  "f1-score": 0.9,
  "support": 200
 },
 "accuracy": 0.88,
 "macro avg": {
  "precision": 0.85,
  "recall": 0.87,
  "f1-score": 0.86,
  "support": 300
 }
}
----
as JSON
the table from line 3 | sizes {'dune': 100, 'bay': 200} | total 300
  3 dune precision 0.8 (dune precision)
  4 dune recall 0.83 (dune recall)
  5 dune F1 0.81 (dune f1-score)
  9 bay precision 0.9 (bay precision)
  10 bay recall 0.91 (bay recall)
  11 bay F1 0.9 (bay f1-score)
  14 <overall> accuracy 0.88 (accuracy precision)
  16 <macro> precision 0.85 (macro avg precision)
  17 <macro> recall 0.87 (macro avg recall)
  18 <macro> F1 0.86 (macro avg f1-score)
""",
    "lines of another form among those of one": """
Accuracy of dune: 0.81
Accuracy of bay: 0.91
Accuracy of sea: 0.86
Accuracy for class unknown: 0.5
Recall of dune: 0.7
Recall of bay: 0.8
Mean accuracy: 0.86
Accuracy of others: 0.4
Mean recall: 0.75
Accuracy of std: 0.05
----
as label lines
the table from line 1
  1 dune accuracy 0.81 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
  3 sea accuracy 0.86 (Accuracy of sea)
  5 dune recall 0.7 (Recall of dune)
  6 bay recall 0.8 (Recall of bay)
  7 <unnamed> accuracy 0.86 (Mean accuracy)
  9 <unnamed> recall 0.75 (Mean recall)
  aside 4 unknown accuracy 0.5 (Accuracy for class unknown)
  aside 8 others accuracy 0.4 (Accuracy of others)
  aside 10 std accuracy 0.05 (Accuracy of std)
""",
    "many lines below a mean are classes": """
Accuracy of dune: 0.81
Accuracy of bay: 0.91
Mean accuracy: 0.86
Accuracy of sea: 0.4
Accuracy of ice: 0.5
Accuracy of fen: 0.6
Accuracy of bog: 0.7
----
as label lines
the table from line 1
  1 dune accuracy 0.81 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
  3 <unnamed> accuracy 0.86 (Mean accuracy)
  4 sea accuracy 0.4 (Accuracy of sea)
  5 ice accuracy 0.5 (Accuracy of ice)
  6 fen accuracy 0.6 (Accuracy of fen)
  7 bog accuracy 0.7 (Accuracy of bog)
""",
    "the first class again begins another table": """
| Class | Accuracy |
|---|---|
| dune | 0.83 |
| bay | 0.91 (91/100) |
| dune | 0.85 |
| bay | 0.93 |
----
as Markdown table
the table from line 1 | sizes {'bay': 100}
  3 dune accuracy 0.83 (dune Accuracy)
  4 bay accuracy 0.91 91 of 100 (bay Accuracy)
the table from line 1 (2)
  5 dune accuracy 0.85 (dune Accuracy)
  6 bay accuracy 0.93 (bay Accuracy)
""",
    "a mean AP at an overlap that its classes do not name": """
| Class | AP |
|---|---|
| dune | 0.8 |
| bay | 0.7 |
| mAP50 | 0.75 |
----
as Markdown table
the table from line 1
  doubt: the APs of the classes are at another overlap than mAP50 AP
  3 dune average precision 0.8 (dune AP)
  4 bay average precision 0.7 (bay AP)
  5 <macro> average precision 0.75 (mAP50 AP)
""",
    "the same in lines": """
AP for class dune = 0.8
AP for class bay = 0.7
mAP@0.5 = 0.75
----
as label lines
the table from line 1
  doubt: the APs of the classes are at another overlap than mAP@0.5
  1 dune average precision 0.8 (AP for class dune)
  2 bay average precision 0.7 (AP for class bay)
  3 <macro> average precision 0.75 (mAP@0.5)
""",
    "lines that are no part of a table with commas": """
class, accuracy, note
dune, 0.83, 0.1
bay, n/a, 0.2
sea, 0.7
Accuracy, and what it means
fen, bog
Accuracy of ice, the last: 0.5

,dune,bay
dune,18,2
bay,1,9
----
as delimited table, confusion matrix
the table from line 1
  2 dune accuracy 0.83 (dune accuracy)
the confusion matrix from line 9
  10 counts of dune, bay: 18 2; 1 9
unread 7 Accuracy of ice, the last: 0.5: looks like a measurement in a form that is not known
""",
    "a summary between two tables is of neither": """
| Class | Recall |
|---|---|
| sea | 0.7 |
| ice | 0.6 |

Overall accuracy: 0.8

| Class | Recall |
|---|---|
| fen | 0.5 |
| bog | 0.4 |
----
as Markdown table, label lines
the table from line 1
  3 sea recall 0.7 (sea Recall)
  4 ice recall 0.6 (ice Recall)
line 6: Overall accuracy
  6 <overall> accuracy 0.8 (Overall accuracy)
the table from line 8
  10 fen recall 0.5 (fen Recall)
  11 bog recall 0.4 (bog Recall)
""",
    "a heading between a table and a summary": """
| Class | Accuracy |
|---|---|
| dune | 0.83 |
| bay | 0.91 |
# Another network
Overall accuracy: 0.8
----
as Markdown table, label lines
the table from line 1
  3 dune accuracy 0.83 (dune Accuracy)
  4 bay accuracy 0.91 (bay Accuracy)
line 6: Overall accuracy
  6 <overall> accuracy 0.8 (Overall accuracy)
""",
    "a summary of the test set": """
| Class | Accuracy |
|---|---|
| dune | 0.83 |
| bay | 0.91 |

Test accuracy: 0.88 (264/300)
Validation accuracy: 0.9
----
as Markdown table, label lines
the table from line 1 | set test | total 300
  3 dune accuracy 0.83 (dune Accuracy)
  4 bay accuracy 0.91 (bay Accuracy)
  6 <overall> accuracy 0.88 264 of 300 (Test accuracy)
line 7: Validation accuracy | set val
  7 <overall> accuracy 0.9 (Validation accuracy)
""",
    "a matrix with the names in another order": """
| Class | Accuracy |
|---|---|
| dune | 0.9 |
| bay | 0.9 |

      bay  dune
bay     9     1
dune    2    18
----
as Markdown table
the table from line 1
  3 dune accuracy 0.9 (dune Accuracy)
  4 bay accuracy 0.9 (bay Accuracy)
  7 counts of bay, dune: 9 1; 2 18
""",
    "a matrix of other images": """
| Class | Recall | Samples |
|---|---|---|
| dune | 0.90 | 20 |
| bay | 0.90 | 10 |

[[30 1]
 [2 40]]
----
as Markdown table, confusion matrix
the table from line 1 | sizes {'dune': 20, 'bay': 10}
  3 dune recall 0.90 (dune Recall)
  4 bay recall 0.90 (bay Recall)
the confusion matrix from line 6
  6 counts of 0, 1: 30 1; 2 40
""",
    "numbers in brackets that are no matrix": """
Accuracy of dune: 0.83
[[0.2, 0.3], [0.7, 0.1]]
[[1, 2], [3]]
[[1, 2], [3, x]]
[[5]]
----
as label lines
the table from line 1
  1 dune accuracy 0.83 (Accuracy of dune)
""",
    "shares of columns and of all": """
[[0.9, 0.2], [0.1, 0.8]]

[[0.4, 0.2], [0.1, 0.3]]

Confusion matrix
[[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.5, 0.2, 0.1]]
----
as confusion matrix
the confusion matrix from line 1
  1 shares of 0, 1: 0.9 0.2; 0.1 0.8
the confusion matrix from line 3
  3 shares of 0, 1: 0.4 0.2; 0.1 0.3
Confusion matrix
  6 shares of 0, 1, 2: 0.9 0.1 0.0; 0.2 0.8 0.0; 0.5 0.2 0.1
""",
    "a captioned table": """
| Class | Accuracy |
|---|---|
| dune | 0.83 |
| bay | 0.91 |

Table 4: Of the second network.

A sentence that is far too long to be a title of anything that follows it, as it goes on.

| Class | Accuracy |
|---|---|
| dune | 0.85 |
| bay | 0.93 |
----
as Markdown table
Table 4: Of the second network.
  3 dune accuracy 0.83 (dune Accuracy)
  4 bay accuracy 0.91 (bay Accuracy)
the table from line 10
  12 dune accuracy 0.85 (dune Accuracy)
  13 bay accuracy 0.93 (bay Accuracy)
""",
    "captions close lists of lines": """
Accuracy of dune: 0.83
Accuracy of bay: 0.91

Figure 1: first

Accuracy of sea: 0.85
Accuracy of ice: 0.93
Mean accuracy: 0.89
**Table 2.**
----
as label lines
Figure 1
  1 dune accuracy 0.83 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
Table 2
  6 sea accuracy 0.85 (Accuracy of sea)
  7 ice accuracy 0.93 (Accuracy of ice)
  8 <unnamed> accuracy 0.89 (Mean accuracy)
""",
    "a caption above a list of lines": """
Figure 7
Accuracy of dune: 0.83
Accuracy of bay: 0.91
----
as label lines
Figure 7
  2 dune accuracy 0.83 (Accuracy of dune)
  3 bay accuracy 0.91 (Accuracy of bay)
""",
    "sets of lines": """
val accuracy of dune: 0.83
val accuracy of bay: 0.91
test accuracy of dune: 0.81
test accuracy of bay: 0.89
Mean val accuracy: 0.87
Mean test accuracy: 0.85
----
as label lines
the table from line 1 | set val
  1 dune accuracy 0.83 (val accuracy of dune)
  2 bay accuracy 0.91 (val accuracy of bay)
  5 <unnamed> accuracy 0.87 (Mean val accuracy)
the table from line 3 | set test
  3 dune accuracy 0.81 (test accuracy of dune)
  4 bay accuracy 0.89 (test accuracy of bay)
  6 <unnamed> accuracy 0.85 (Mean test accuracy)
""",
    "one class twice with two values": """
Accuracy of dune: 0.83
Accuracy of bay: 0.91
Accuracy of bay: 0.93
Accuracy of sea: 0.7
----
as label lines
the table from line 1
  1 dune accuracy 0.83 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
  3 bay accuracy 0.93 (Accuracy of bay)
  4 sea accuracy 0.7 (Accuracy of sea)
unread 3 0.93: accuracy of class bay stands in line 2, too
""",
    "names below a heading": """
Accuracy of each class:
- dune: 83 %
- class bay: 91.5 % ± 0.3 %
- Mean: 87 %
some words
- fen: 5
----
as label lines
the table from line 2
  2 dune accuracy 83 % (dune)
  3 bay accuracy 91.5 % ±0.3 (class bay)
  4 <unnamed> accuracy 87 % (Mean)
""",
    "several values on a line": """
Class: dune, precision: 0.8, recall: 0.9
Class: bay, precision: 0.7, recall: 0.6
Sea: precision 0.91, recall 0.88
2024-05-11 10:53:25,019 - INFO - ice: accuracy = 0.5
93.12% = fen AP || score_threshold=0.5
Accuracy of 0 : 0.4
Accuracy of the network on the 10000 test images: 61 %
The accuracy is better by 3 % in almost all of the cases that we looked at in this long sentence: 2
Accuracy ~ 95
----
as label lines
the table from line 1 | set test | total 10000
  1 dune precision 0.8 (precision)
  1 dune recall 0.9 (recall)
  2 bay precision 0.7 (precision)
  2 bay recall 0.6 (recall)
  3 Sea precision 0.91 (precision)
  3 Sea recall 0.88 (recall)
  4 ice accuracy 0.5 (accuracy)
  5 fen average precision 93.12% (AP of fen)
  6 0 accuracy 0.4 (Accuracy of 0)
  7 <overall> accuracy 61 % (Accuracy of the network on the 10000 test images)
""",
    "all on one line": """
Per-class accuracy: sea 91.2%, ice 88.3%, mean 89.75%
Recall per class: sea 90%, ice 80%
Per-class F1 = tensor([0.5, 0.25])
test accuracy per class: {"sea": 0.9, "ice": 0.8}
Sizes: [1, 2]
----
as listed values
Per-class accuracy
  1 sea accuracy 91.2% (Per-class accuracy)
  1 ice accuracy 88.3% (Per-class accuracy)
  1 <unnamed> accuracy 89.75% (Per-class accuracy)
Recall per class
  2 sea recall 90% (Recall per class)
  2 ice recall 80% (Recall per class)
Per-class F1
  3 0 F1 0.5 (Per-class F1)
  3 1 F1 0.25 (Per-class F1)
test accuracy per class | set test
  4 sea accuracy 0.9 (test accuracy per class)
  4 ice accuracy 0.8 (test accuracy per class)
""",
    "repeated columns and rows without names": """
| Class | Accuracy | Class | Accuracy |
|---|---|---|---|
| dune | 0.83 | bay | 0.91 |
| sea | 0.7 | - | - |
----
as Markdown table
the table from line 1
  3 dune accuracy 0.83 (dune Accuracy)
  3 bay accuracy 0.91 (bay Accuracy)
  4 sea accuracy 0.7 (sea Accuracy)
""",
    "percentages without a sign": """
| Class | Accuracy | Recall |
|---|---|---|
| dune | 83.0 | 0.83 |
| bay | 1 | 1 |
| sea | 70.25 | 0.70 |
| mean | 1.5 | 0.84 |
----
as Markdown table
the table from line 1
  3 dune accuracy 83.0 % (dune Accuracy)
  3 dune recall 0.83 (dune Recall)
  4 bay accuracy 1 % (bay Accuracy)
  4 bay recall 1 (bay Recall)
  5 sea accuracy 70.25 % (sea Accuracy)
  5 sea recall 0.70 (sea Recall)
  6 <unnamed> accuracy 1.5 % (mean Accuracy)
  6 <unnamed> recall 0.84 (mean Recall)
""",
    "networks in rows": """
Accuracy of each class

| Model | Params | dune | bay | mean |
|---|---|---|---|---|
| CNN | 11M | 0.83 | 0.91 | 0.87 |
| ViT | 86M | 0.85 | 0.93 | 0.89 |
----
as Markdown table
Accuracy of each class · CNN
  5 dune accuracy 0.83 (dune CNN)
  5 bay accuracy 0.91 (bay CNN)
  5 <unnamed> accuracy 0.87 (mean CNN)
Accuracy of each class · ViT
  6 dune accuracy 0.85 (dune ViT)
  6 bay accuracy 0.93 (bay ViT)
  6 <unnamed> accuracy 0.89 (mean ViT)
unread 5 11M: no value in the row 'Params'
unread 6 86M: no value in the row 'Params'
""",
    "metrics in rows": """
| Metric | Value |
|---|---|
| Test accuracy | 94.1% |
| Macro F1 | 0.93 |
| Parameters | 11 |
| Best validation accuracy | 94.8% |
----
as Markdown table
test | set test
  3 <overall> accuracy 94.1% (Test accuracy)
the table from line 1
  4 <macro> F1 0.93 (Macro F1)
val | set val
  6 <overall> accuracy 94.8% (Best validation accuracy)
""",
    "JSON of several networks": """
{
 "cnn": {
  "per_class": [
   {
    "class": "dune",
    "accuracy": 0.83,
    "support": 100
   },
   {
    "class": "bay",
    "accuracy": 0.91,
    "support": 200
   }
  ]
 },
 "vit": {
  "class_accuracy": {
   "dune": 85.0,
   "bay": 93.5,
   "mean": 89.25
  },
  "n": 300
 }
}
----
as JSON
cnn per_class | sizes {'dune': 100, 'bay': 200}
  6 dune accuracy 0.83 (dune accuracy)
  11 bay accuracy 0.91 (bay accuracy)
vit
  18 dune accuracy 85.0 % (dune)
  19 bay accuracy 93.5 % (bay)
  20 <unnamed> accuracy 89.25 % (mean)
""",
    "a table of one value a row": """
| Class | Metric | Value |
|---|---|---|
| dune | precision | 0.8 |
| dune | recall | 0.9 |
| bay | precision | 0.7 |
| bay | recall | 0.6 |
----
as Markdown table
the table from line 1
  3 dune precision 0.8 (dune precision)
  4 dune recall 0.9 (dune recall)
  5 bay precision 0.7 (bay precision)
  6 bay recall 0.6 (bay recall)
""",
    "targets and epochs are no results": """
| Metric | Target | Actual |
|---|---|---|
| Accuracy | 0.9 | 0.8 |

| Epoch | Accuracy |
|---|---|
| 1 | 0.5 |
| 2 | 0.6 |

Accuracy of sea: 0.7
----
as label lines
the table from line 10
  10 sea accuracy 0.7 (Accuracy of sea)
""",
    "folds in rows": """
# Protocol
We used 5-fold splits.

# Results

| Fold | Accuracy |
|---|---|
| 1 | 0.8 |
| 2 | 0.9 |
| Mean | 0.85 |
----
as Markdown table; 5 folds
Results · 1
  8 <overall> accuracy 0.8 (Accuracy)
Results · 2
  9 <overall> accuracy 0.9 (Accuracy)
Results · Mean
  10 <overall> accuracy 0.85 (Accuracy)
""",
    "the weakest classes": """
The weakest classes

| Class | Accuracy |
|---|---|
| dune | 0.3 |
| bay | 0.4 |
----
as Markdown table
The weakest classes | partial True
  5 dune accuracy 0.3 (dune Accuracy)
  6 bay accuracy 0.4 (bay Accuracy)
""",
    "classes below a mean that stands first": """
Mean accuracy: 0.86
Accuracy of dune: 0.81
Accuracy of bay: 0.91
----
as label lines
the table from line 1
  1 <unnamed> accuracy 0.86 (Mean accuracy)
  2 dune accuracy 0.81 (Accuracy of dune)
  3 bay accuracy 0.91 (Accuracy of bay)
""",
    "a line below a mean of two classes": """
Accuracy of dune: 0.81
Accuracy of bay: 0.91
Mean accuracy: 0.86
Accuracy of sea: 0.4
----
as label lines
the table from line 1
  1 dune accuracy 0.81 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
  3 <unnamed> accuracy 0.86 (Mean accuracy)
  aside 4 sea accuracy 0.4 (Accuracy of sea)
""",
    "lines that speak of no class": """
Accuracy of dune: 0.81
Accuracy of bay: 0.91
Accuracy of random guessing: 0.16
Accuracy of class mean of natural scenes: 0.8
Accuracy of sea: 0.86
----
as label lines
the table from line 1
  1 dune accuracy 0.81 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
  5 sea accuracy 0.86 (Accuracy of sea)
  aside 3 random guessing accuracy 0.16 (Accuracy of random guessing)
  aside 4 mean of natural scenes accuracy 0.8 (Accuracy of class mean of natural scenes)
""",
    "JSON lists of objects": """
[
 {
  "model": {
   "name": "cnn"
  },
  "test_accuracy": 0.9,
  "class_recall": {
   "dune": 0.8,
   "bay": 0.7,
   "macro avg": 0.75
  }
 },
 {
  "model": {
   "name": "vit"
  },
  "test_accuracy": 0.8,
  "class_recall": {
   "dune": 0.6,
   "bay": 0.5,
   "accuracy": 0.55
  }
 }
]
----
as JSON
1
  6 <overall> accuracy 0.9 (test_accuracy)
  8 dune recall 0.8 (dune)
  9 bay recall 0.7 (bay)
  10 <macro> recall 0.75 (macro avg)
2
  17 <overall> accuracy 0.8 (test_accuracy)
  19 dune recall 0.6 (dune)
  20 bay recall 0.5 (bay)
  21 <overall> accuracy 0.55 (accuracy)
""",
    "JSON keys of a measure and a class each": """
{
 "run": {
  "acc_dune": 0.8,
  "acc_bay": 0.7,
  "acc_sea": 0.6,
  "macro_acc": 0.7
 }
}
----
as JSON
run
  3 dune accuracy 0.8 (acc_dune)
  4 bay accuracy 0.7 (acc_bay)
  5 sea accuracy 0.6 (acc_sea)
  6 <macro> accuracy 0.7 (macro_acc)
""",
    "names before several values": """
Class: 4 precision: 0.7 recall: 0.6
f: precision 0.91, recall 0.88
Per-class accuracy: plane: 0.85
dune: accuracy: 0.83
----
as label lines
the table from line 1
  1 4 precision 0.7 (precision)
  1 4 recall 0.6 (recall)
  2 f precision 0.91 (precision)
  2 f recall 0.88 (recall)
  4 dune accuracy 0.83 (accuracy)
""",
    "a matrix of the same names in another order beside sizes": """
| Class | Recall | Samples |
|---|---|---|
| dune | 0.90 | 20 |
| bay | 0.90 | 10 |

      bay  dune
bay     9     1
dune    2    18
----
as Markdown table, confusion matrix
the table from line 1 | sizes {'dune': 20, 'bay': 10}
  3 dune recall 0.90 (dune Recall)
  4 bay recall 0.90 (bay Recall)
the confusion matrix from line 6
  7 counts of bay, dune: 9 1; 2 18
""",
    "networks over all classes, at their best epoch": """
| Model | Best accuracy | Test accuracy | mAP50 | mAP |
|---|---|---|---|---|
| CNN | 0.93 | 0.91 | 0.8 | 0.6 |
| ViT | 0.95 | 0.94 | 0.7 | 0.5 |
----
as Markdown table
CNN | boxes True
  3 <overall> accuracy 0.93 (Best accuracy)
CNN · test | set test | boxes True
  3 <overall> accuracy 0.91 (Test accuracy)
CNN mAP50 | boxes True
  3 <macro> average precision 0.8 (mAP50)
CNN (2) | boxes True
  3 <macro> average precision 0.6 (mAP)
ViT | boxes True
  4 <overall> accuracy 0.95 (Best accuracy)
ViT · test | set test | boxes True
  4 <overall> accuracy 0.94 (Test accuracy)
ViT mAP50 | boxes True
  4 <macro> average precision 0.7 (mAP50)
ViT (2) | boxes True
  4 <macro> average precision 0.5 (mAP)
""",
    "one value a row with a blank": """
| Class | Metric | Value |
|---|---|---|
| dune | precision | 0.8 |
| dune | recall | |
| bay | precision | 0.7 |
| bay | recall | 0.6 |
----
as Markdown table
the table from line 1
  3 dune precision 0.8 (dune precision)
  5 bay precision 0.7 (bay precision)
  6 bay recall 0.6 (bay recall)
""",
    "numbers under names alone": """
Per-class accuracy

| dune | bay | mean |
|---|---|---|
| 0.83 | 0.91 | 0.87 |
----
as Markdown table
Per-class accuracy
  5 dune accuracy 0.83 (dune)
  5 bay accuracy 0.91 (bay)
  5 <unnamed> accuracy 0.87 (mean)
""",
    "lists below each other of the same classes, and not": """
Recall per class: sea 90%, ice 80%
Precision per class: sea 91%, ice 81%
Precision per class: sea 92%, ice 82%

Per-class F1: sea 70%, ice 60%
Per-class recall: sea 71%, fen 61%
----
as listed values
Recall per class
  1 sea recall 90% (Recall per class)
  1 ice recall 80% (Recall per class)
  2 sea precision 91% (Precision per class)
  2 ice precision 81% (Precision per class)
Precision per class
  3 sea precision 92% (Precision per class)
  3 ice precision 82% (Precision per class)
Per-class F1
  5 sea F1 70% (Per-class F1)
  5 ice F1 60% (Per-class F1)
Per-class recall
  6 sea recall 71% (Per-class recall)
  6 fen recall 61% (Per-class recall)
""",
    "a table between lines": """
Accuracy of dune: 0.83
| Class | Accuracy |
|---|---|
| sea | 0.7 |
Accuracy of bay: 0.91
----
as label lines, Markdown table
the table from line 1
  1 dune accuracy 0.83 (Accuracy of dune)
the table from line 2
  4 sea accuracy 0.7 (sea Accuracy)
the table from line 5
  5 bay accuracy 0.91 (Accuracy of bay)
""",
    "a table between lines and a summary": """
Accuracy of dune: 0.83
Accuracy of bay: 0.91
| Class | Accuracy |
|---|---|
| sea | 0.7 |
| ice | 0.6 |
Mean accuracy: 0.65
----
as label lines, Markdown table
the table from line 1
  1 dune accuracy 0.83 (Accuracy of dune)
  2 bay accuracy 0.91 (Accuracy of bay)
the table from line 3
  5 sea accuracy 0.7 (sea Accuracy)
  6 ice accuracy 0.6 (ice Accuracy)
  7 <unnamed> accuracy 0.65 (Mean accuracy)
""",
    "other measures beside class values": """
| Class | Accuracy | Loss | TP Rate |
|---|---|---|---|
| dune | 0.83 | 0.3 | 0.8 |
| bay | 0.91 | 0.2 | 0.9 |

| Class | Recall | AP small |
|---|---|---|
| sea | 0.7 | 0.3 |
----
as Markdown table
the table from line 1
  3 dune accuracy 0.83 (dune Accuracy)
  4 bay accuracy 0.91 (bay Accuracy)
the table from line 6 | boxes True
  8 sea recall 0.7 (sea Recall)
""",
    "JSON of one split with its mean": """
{
 "accuracy": {
  "test": {
   "dune": 0.83,
   "bay": 0.91,
   "mean": 0.87
  }
 }
}
----
as JSON
accuracy · test | set test
  6 <unnamed> accuracy 0.87 (mean)
  4 dune accuracy 0.83 (dune)
  5 bay accuracy 0.91 (bay)
""",
    "JSON: two keys of a measure and a class make no table": """
{"acc_dune": 0.8, "acc_bay": 0.7, "accuracy": 0.75}
----
as JSON
the values
  1 <overall> accuracy 0.75 (accuracy)
""",
    "JSON after a blank line, as Python prints a dictionary": """
\x20
{'test': {'accuracy': {'dune': np.float64(0.83),
  'bay': 0.91}}}
----
as JSON
test | set test
  2 dune accuracy 0.83 (dune)
  3 bay accuracy 0.91 (bay)
""",
    "JSON: an apostrophe in a name, and no value where there is none": """
{"accuracy": {"dune": null, "cat's eye": 0.83,
 "bay": NaN, "sea": 0.7}, "recall": [0.6], "precision": 0.5, "f1": NaN,
 "support": {"dune": 9, "bay": 8.5, "sea": null, "cat's eye": 7}, "CNN accuracy": 0.4, "dune accuracy": 0.3}
----
as JSON
the values | sizes {'dune': 9, "cat's eye": 7}
  1 cat's eye accuracy 0.83 (cat's eye)
  2 sea accuracy 0.7 (sea)
  2 <> precision 0.5 (precision)
""",
    "JSON: names of another number than the values, a mean of lists": """
{"classes": ["dune", "bay", "sea"], "labels": [1, 2], "accuracy": [0.83,
 0.91], "mean_accuracy": [0.8, 0.9], "sea_accuracy": [0.1, 0.2], "macro_recall": {"dune": 0.5, "bay": 0.6}}
----
as JSON
the values
  1 0 accuracy 0.83 (0)
  2 1 accuracy 0.91 (1)
macro_recall
  2 dune recall 0.5 (dune)
  2 bay recall 0.6 (bay)
""",
    "JSON: a matrix alone, and what is none": """
{"b": {"confusion_matrix": {"dune": 3}}, "c": {"confusion": [1, 2, 3]},
 "d": {"f1": {"dune": 0.5,
 "bay": 0.6}}, "e": {"normalized_confusion": [[1,
 2], "x", [3, "y", 4]], "class_names": ["dune", "bay"]}}
----
as JSON, confusion matrix
d
  2 dune F1 0.5 (dune)
  3 bay F1 0.6 (bay)
e
  3 counts of dune, bay: 1 2; 3 4
""",
    "JSON: records of networks, and a list with other things": """
{"runs": [{"model": "CNN", "accuracy": 0.9}, {"model": "ViT", "accuracy": 0.8}],
 "more": [3, {"accuracy": {"dune": 0.5, "bay": 0.6}}, [{"recall": {"dune": 0.1, "bay": 0.2}}]],
 "one": [{"class": "dune", "accuracy": 0.7}], "blank": [{}, {"class": "bay", "accuracy": 0.3}]}
----
as JSON
runs · 1
  1 <overall> accuracy 0.9 (accuracy)
runs · 2
  1 <overall> accuracy 0.8 (accuracy)
more · 2
  2 dune accuracy 0.5 (dune)
  2 bay accuracy 0.6 (bay)
more · 3 · 1
  2 dune recall 0.1 (dune)
  2 bay recall 0.2 (bay)
one
  3 dune accuracy 0.7 (dune accuracy)
blank · 2
  3 <overall> accuracy 0.3 (accuracy)
""",
    "JSON: records without some of their values": """
\x20
\x20
[{"class": "dune", "precision": 0.5, "f1": null},
 {"class": "bay",
  "recall": 0.6, "precision": 0.7}, {"class": "sea"}]
----
as JSON
the table from line 1
  3 dune precision 0.5 (dune precision)
  5 bay precision 0.7 (bay precision)
  5 bay recall 0.6 (bay recall)
""",
    "JSON: a report with other keys": """
{"dune": {"precision": 0.5, "support": 3}, "sea": {"recall": 0.6,
 "precision": 0.7, "f1": 0.4, "support": 5},
 "accuracy": 0.62, "note": "x",
 "ice": {"precision": 0.9, "support": null}}
----
as JSON
the table from line 1 | sizes {'dune': 3, 'sea': 5}
  1 dune precision 0.5 (dune precision)
  2 sea precision 0.7 (sea precision)
  1 sea recall 0.6 (sea recall)
  2 sea F1 0.4 (sea f1)
  3 <overall> accuracy 0.62 (accuracy precision)
  aside 4 ice precision 0.9 (ice precision)
""",
    "JSON: objects within objects without measures": """
{"dune": {"a": 0.5, "b": 0.3}, "bay": {"a": 0.6, "b": 0.2}, "accuracy":
 {"val": {"sea": 0.5, "ice": 0.6}, "note": {"sea": 0.1}, "text": {"sea": 0.1, "ice": "x"}},
 "one": [{"accuracy": 0.4}, {"accuracy": 0.3}]}
----
as JSON
accuracy · val | set val
  2 sea accuracy 0.5 (sea)
  2 ice accuracy 0.6 (ice)
one · 1
  3 <overall> accuracy 0.4 (accuracy)
one · 2
  3 <overall> accuracy 0.3 (accuracy)
""",
    "JSON at the top: other numbers are of no measure": """
{"dune": 0.5, "bay": 0.6}
----
as JSON
the values
  1 dune other 0.5 (dune)
  1 bay other 0.6 (bay)
""",
    "JSON: a split with more than classes": """
{"recall": {"val": {"dune": 0.5, "bay": 0.6, "sea": 0.7, "macro avg": 0.55, "accuracy": 0.52}}}
----
as JSON
recall · val | set val
  1 <macro> recall 0.55 (macro avg)
  1 <overall> accuracy 0.52 (accuracy)
  1 dune recall 0.5 (dune)
  1 bay recall 0.6 (bay)
  1 sea recall 0.7 (sea)
""",
    "lines: one class with the words of a network, and one of a set": """
sea accuracy: 0.9
train AP: 0.5
----
as label lines
sea
  1 <unnamed> accuracy 0.9 (sea accuracy)
line 2: train AP | set train
  2 <unnamed> average precision 0.5 (train AP)
""",
    "lines: two of a form are no list, three are": """
sea accuracy: 0.9
ice accuracy: 0.8

AP of bay: 0.5
sea recall: 0.7
bay AP: 0.6
----
as label lines
sea
  1 <unnamed> accuracy 0.9 (sea accuracy)
ice
  2 <unnamed> accuracy 0.8 (ice accuracy)
the table from line 4
  4 bay average precision 0.5 (AP of bay)
sea (2)
  5 <unnamed> recall 0.7 (sea recall)
the table from line 6
  6 bay average precision 0.6 (bay AP)
""",
    "lines: three of a form that are twelve lines apart": """
sea accuracy: 0.9











ice accuracy: 0.8











fen accuracy: 0.7
----
as label lines
sea
  1 <unnamed> accuracy 0.9 (sea accuracy)
the table from line 13
  13 ice accuracy 0.8 (ice accuracy)
fen
  25 <unnamed> accuracy 0.7 (fen accuracy)
""",
    "lines: three of a form that are farther apart": """
sea accuracy: 0.9












ice accuracy: 0.8












fen accuracy: 0.7
----
as label lines
sea
  1 <unnamed> accuracy 0.9 (sea accuracy)
ice
  14 <unnamed> accuracy 0.8 (ice accuracy)
fen
  27 <unnamed> accuracy 0.7 (fen accuracy)
""",
    "lines: the same line again, and again later": """
Accuracy of sea: 0.83
Accuracy of sea: 0.83
Accuracy of ice: 0.91

Accuracy of ice: 0.91
Accuracy of fen: 8/10
Accuracy of fen: 8/10
----
as label lines
the table from line 1
  1 sea accuracy 0.83 (Accuracy of sea)
  3 ice accuracy 0.91 (Accuracy of ice)
the table from line 5
  5 ice accuracy 0.91 (Accuracy of ice)
""",
    "lines: sets of different classes": """
val accuracy of sea: 0.83
test accuracy of ice: 0.91
Accuracy of fen: 0.5
----
as label lines
the table from line 1 | set val
  1 sea accuracy 0.83 (val accuracy of sea)
the table from line 2 | set test
  2 ice accuracy 0.91 (test accuracy of ice)
  3 fen accuracy 0.5 (Accuracy of fen)
""",
    "lines: captions four lines below and above": """
Accuracy of sea: 0.83



Figure 1

Accuracy of sea: 0.84




Figure 2
Table 3



Accuracy of sea: 0.85
Accuracy of ice: 0.86
----
as label lines
Figure 1
  1 sea accuracy 0.83 (Accuracy of sea)
Figure 1 (2)
  7 sea accuracy 0.84 (Accuracy of sea)
Table 3
  17 sea accuracy 0.85 (Accuracy of sea)
  18 ice accuracy 0.86 (Accuracy of ice)
""",
    "lines: a caption five lines above": """
Table 3




Accuracy of sea: 0.85
----
as label lines
the table from line 6
  6 sea accuracy 0.85 (Accuracy of sea)
""",
    "lines: classes that stand twice cut no list": """
Accuracy of sea: 0.1
Accuracy of ice: 0.2

Accuracy of sea: 0.3
Accuracy of ice: 0.4
Accuracy of ice: 0.5
Accuracy of fen: 0.6
----
as label lines
the table from line 1
  1 sea accuracy 0.1 (Accuracy of sea)
  2 ice accuracy 0.2 (Accuracy of ice)
the table from line 4
  4 sea accuracy 0.3 (Accuracy of sea)
  5 ice accuracy 0.4 (Accuracy of ice)
  6 ice accuracy 0.5 (Accuracy of ice)
  7 fen accuracy 0.6 (Accuracy of fen)
unread 6 0.5: accuracy of class ice stands in line 5, too
""",
    "lines: a summary twelve lines below": """
val accuracy of sea: 0.1
val accuracy of ice: 0.2











Mean accuracy: 0.15
----
as label lines
the table from line 1 | set val
  1 sea accuracy 0.1 (val accuracy of sea)
  2 ice accuracy 0.2 (val accuracy of ice)
  14 <unnamed> accuracy 0.15 (Mean accuracy)
""",
    "lines: a summary thirteen lines below": """
val accuracy of sea: 0.1
val accuracy of ice: 0.2












Mean accuracy: 0.15
----
as label lines
the table from line 1 | set val
  1 sea accuracy 0.1 (val accuracy of sea)
  2 ice accuracy 0.2 (val accuracy of ice)
line 15: Mean accuracy
  15 <unnamed> accuracy 0.15 (Mean accuracy)
""",
    "lines: a summary twelve lines above, and one in a gap": """
Mean accuracy: 0.15











val accuracy of sea: 0.1
val accuracy of ice: 0.2













Mean accuracy: 0.16













val accuracy of fen: 0.2
----
as label lines
the table from line 1 | set val
  1 <unnamed> accuracy 0.15 (Mean accuracy)
  13 sea accuracy 0.1 (val accuracy of sea)
  14 ice accuracy 0.2 (val accuracy of ice)
  42 fen accuracy 0.2 (val accuracy of fen)
  28 <unnamed> accuracy 0.16 (Mean accuracy)
""",
    "lines: between two lists a summary is of the one above, of the nearer one else": """
Accuracy of sea: 0.1

Mean accuracy: 0.1

Accuracy of sea: 0.2


Mean accuracy: 0.2

Accuracy of sea: 0.3
Mean accuracy: 0.3
Mean accuracy: 0.4
----
as label lines
the table from line 1
  1 sea accuracy 0.1 (Accuracy of sea)
  3 <unnamed> accuracy 0.1 (Mean accuracy)
the table from line 5
  5 sea accuracy 0.2 (Accuracy of sea)
  11 <unnamed> accuracy 0.3 (Mean accuracy)
  12 <unnamed> accuracy 0.4 (Mean accuracy)
the table from line 8
  8 <unnamed> accuracy 0.2 (Mean accuracy)
  10 sea accuracy 0.3 (Accuracy of sea)
""",
    "lines: a log with two lists after each epoch": """
Epoch 1/3
val accuracy of sea: 0.1
test accuracy of sea: 0.11
Epoch 2/3
val accuracy of sea: 0.2
test accuracy of sea: 0.21
Epoch 3/3
val accuracy of sea: 0.3
test accuracy of sea: 0.31
----
as label lines
the table from line 8 | set val
  8 sea accuracy 0.3 (val accuracy of sea)
the table from line 9 | set test
  9 sea accuracy 0.31 (test accuracy of sea)
""",
    "lines: a log of two epochs": """
Epoch 1/2
Accuracy of sea: 0.1
Epoch 2/2
Accuracy of sea: 0.2
Test accuracy: 0.1
----
as label lines
the table from line 2
  2 sea accuracy 0.1 (Accuracy of sea)
the table from line 4 | set test
  4 sea accuracy 0.2 (Accuracy of sea)
  5 <overall> accuracy 0.1 (Test accuracy)
""",
    "lines: a log with summaries alone": """
Epoch 1/2
Precision: 0.1
mAP: 0.1
Precision: 0.2
mAP: 0.2
Precision: 0.3
Recall of sea: 0.1
----
as label lines
line 3: mAP
  3 <macro> average precision 0.1 (mAP)
line 5: mAP
  5 <macro> average precision 0.2 (mAP)
the table from line 7
  7 sea recall 0.1 (Recall of sea)
""",
    "lines: sizes and counts": """
Accuracy of sea: 0.5 (5/10)
Accuracy of ice: 0.7 (n=20)
Accuracy of fen: 0.6
Accuracy of the network on the 40 test images: 0.6
Overall accuracy: 0.61 (n=50)
----
as label lines
the table from line 1 | set test | sizes {'sea': 10, 'ice': 20} | total 40
  1 sea accuracy 0.5 5 of 10 (Accuracy of sea)
  2 ice accuracy 0.7 (Accuracy of ice)
  3 fen accuracy 0.6 (Accuracy of fen)
  4 <overall> accuracy 0.6 (Accuracy of the network on the 40 test images)
  5 <overall> accuracy 0.61 (Overall accuracy)
""",
    "lines: totals beside a value and in a count": """
Accuracy of sea: 0.5
Overall accuracy: 0.61 (n=50)
AP of sea: 0.5
----
as label lines
the table from line 1 | total 50
  1 sea accuracy 0.5 (Accuracy of sea)
  2 <overall> accuracy 0.61 (Overall accuracy)
  3 sea average precision 0.5 (AP of sea)
""",
    "lines: means at overlaps and the overlap of the classes": """
AP@0.5 of sea: 0.5
AP@0.5 of ice: 0.6
mAP: 0.5
mAP@0.5: 0.55

Recall of fen: 0.5
mAP@0.75: 0.4
----
as label lines
the table from line 1
  1 sea average precision 0.5 (AP@0.5 of sea)
  2 ice average precision 0.6 (AP@0.5 of ice)
  4 <macro> average precision 0.55 (mAP@0.5)
  6 fen recall 0.5 (Recall of fen)
  3 <macro> average precision 0.5 (mAP)
line 7: mAP@0.75
  7 <macro> average precision 0.4 (mAP@0.75)
""",
    "labels: a mean without a measure below two class values": """
Accuracy of sea: 0.8
Accuracy of ice: 0.9
Mean: 0.85
text
Mean: 0.8
----
as label lines
the table from line 1
  1 sea accuracy 0.8 (Accuracy of sea)
  2 ice accuracy 0.9 (Accuracy of ice)
  3 <unnamed> accuracy 0.85 (Mean)
""",
    "labels: a mean without a measure below one class value": """
Accuracy of sea: 0.8
Mean: 0.85
----
as label lines
the table from line 1
  1 sea accuracy 0.8 (Accuracy of sea)
""",
    "labels: bars around lines": """
| Accuracy of sea: 0.8 |
│ Accuracy of ice: 0.7 │
----
as label lines
the table from line 1
  1 sea accuracy 0.8 (Accuracy of sea)
  2 ice accuracy 0.7 (Accuracy of ice)
""",
    "labels: several names on one line below a heading": """
Recall of each class:
sea: 0.8, ice: 0.9
fen: 0.7
Per-class accuracy: bog: 0.6, elm: 0.5
Per-class accuracy: oak: 0.4
Recall: 0.3, precision of ash: 0.2
----
as label lines, listed values
the table from line 3
  3 fen recall 0.7 (fen)
  6 ash precision 0.2 (precision of ash)
  6 <> recall 0.3 (Recall)
Per-class accuracy
  4 bog accuracy 0.6 (Per-class accuracy)
  4 elm accuracy 0.5 (Per-class accuracy)
""",
    "labels: scores of one class, and what is none": """
Sea: precision 0.91, recall 0.88, f1 nan
Ice: precision 0.81, images 0.2
Fen: precision nan, recall -
Accuracy: precision 0.61, recall 0.68
Bog: precision 0.71
F: precision 0.51, recall 0.58
----
as label lines
the table from line 1
  1 Sea precision 0.91 (precision)
  1 Sea recall 0.88 (recall)
  5 Bog precision 0.71 (Bog: precision)
  6 F precision 0.51 (precision)
  6 F recall 0.58 (recall)
unread 2 Ice: precision 0.81, images 0.2: looks like a measurement in a form that is not known
unread 4 Accuracy: precision 0.61, recall 0.68: looks like a measurement in a form that is not known
""",
    "labels: sixteen words, and seventeen with two values or three": """
The accuracy that we see of a b c d e f g h : 0.8
Accuracy of sea : 0.5 and that of a b c d e f g h
Accuracy of ice : 0.5 and that of a b c d e f g h i
Accuracy of fen : 0.5, F1 of fen : 0.6 and that of b c d
Accuracy of bay : 0.5, F1 of bay : 0.6, recall of bay : 0.7 or so, or so
----
as label lines
the table from line 1
  2 sea accuracy 0.5 (Accuracy of sea)
  4 fen accuracy 0.5 (Accuracy of fen)
  4 fen F1 0.6 (F1 of fen)
  5 bay accuracy 0.5 (Accuracy of bay)
  5 bay F1 0.6 (F1 of bay)
  5 bay recall 0.7 (recall of bay)
  aside 1 that we see of a b c d e f g h accuracy 0.8 (The accuracy that we see of a b c d e f g h)
""",
    "labels: names before measures": """
sea: test: accuracy: 0.9
Macro avg: precision: 0.5
class ice: recall: 0.8
accuracy: recall: 0.7
: recall: 0.6
----
as label lines
the table from line 1 | set test
  1 sea accuracy 0.9 (test: accuracy)
  3 ice recall 0.8 (recall)
  5 <> recall 0.6 (: recall)
  2 <macro> precision 0.5 (Macro avg: precision)
recall
  4 <unnamed> accuracy 0.7 (accuracy: recall)
""",
    "labels: words of a line that is not understood": """
Acuracy for class 1 2 3 4 5 6 7 8: 0.9
Acuracy for class 1 2 3 4 5 6 7 8 9: 0.9
Acuracy for class 1 loss: 0.9
Acuracy for class {1}: 0.9
Acuracy for class 1 9
Acuracy of 1: 0.9
Accuracy of sea: 0.8
----
as label lines
the table from line 3
  3 Acuracy for class 1 other 0.9 (Acuracy for class 1 loss)
  7 sea accuracy 0.8 (Accuracy of sea)
unread 1 Acuracy for class 1 2 3 4 5 6 7 8: 0.9: looks like a measurement in a form that is not known
""",
    "labels: a table of COCO, objects and rules": """
Average Precision (AP) @[ IoU=0.50:0.95 | area= all | maxDets=100 ] = 0.503
{'accuracy of sea': 0.5
=====
Accuracy of sea: 0.8
Accuracy of = 0.3
----
as label lines
the table from line 4
  4 sea accuracy 0.8 (Accuracy of sea)
  5 <overall> accuracy 0.3 (Accuracy of)
""",
    "labels: spaces before a value": """
Accuracy of sea 83%
ice 0.91
Accuracy of fen, bog 83%
Per class accuracy
elm 0.5
oak, ash 0.6
std: 0.1
std 0.2
----
as label lines
the table from line 1
  1 sea accuracy 83% (Accuracy of sea)
  5 elm accuracy 0.5 (elm)
""",
    "labels: names, numbers and quotes": """
class: sea, accuracy: 0.5
name = "ice", precision: 0.6, recall: 0.7
id: 3 | Class 7: accuracy: 0.8
class: 0.5, accuracy: 0.4
Accuracy of 3 : 4 : 0.9
Accuracy of bay : 0.5 : 0.9
mAP@[.5:.95]: 0.3
----
as label lines
the table from line 1
  1 sea accuracy 0.5 (accuracy)
  2 ice precision 0.6 (precision)
  2 ice recall 0.7 (recall)
  3 7 accuracy 0.8 (accuracy)
  4 <overall> accuracy 0.4 (accuracy)
  aside 5 3 : 4 accuracy 0.9 (Accuracy of 3 : 4)
line 7: mAP@[.5:.95]
  7 <macro> average precision 0.3 (mAP@[.5:.95])
unread 6 Accuracy of bay : 0.5 : 0.9: looks like a measurement in a form that is not known
""",
    "a table of numbers of images is no matrix": """
| Class | Correct | Samples |
|---|---|---|
| sea | 83 | 100 |
| ice | 182 | 200 |

Accuracy of fen: 0.5
----
as label lines
the table from line 6
  6 fen accuracy 0.5 (Accuracy of fen)
""",
    "a table without a header": """
\\begin{tabular}{ll}
sea & 0.5 \\\\
ice & 0.6 \\\\
\\end{tabular}
Accuracy of fen: 0.5
----
as label lines
the table from line 5
  5 fen accuracy 0.5 (Accuracy of fen)
""",
    "one value a row, of each class twice": """
| Class | Metric | Value |
|---|---|---|
| sea | precision | 0.8 |
| sea | precision | 0.9 |
| ice | precision | 0.7 |
----
as Markdown table
precision
  3 sea other 0.8 (sea Value)
  4 sea other 0.9 (sea Value)
  5 ice other 0.7 (ice Value)
unread 4 0.9: other of class sea stands in line 3, too
""",
    "one value a row, of classes with numbers": """
| Metric | Class | Value |
|---|---|---|
| precision | 1 | 0.8 |
| precision | 2 | |
| recall | 1 | 0.7 |
----
as Markdown table
the table from line 1
  3 1 precision 0.8 (1 precision)
  5 1 recall 0.7 (1 recall)
""",
    "one value a row, of what is no measure": """
| Class | Metric | Value |
|---|---|---|
| sea | precision | 0.8 |
| sea | images | 9 |
----
as Markdown table
the table from line 1 | sizes {'sea': 9}
  3 sea precision 0.8 (sea precision)
""",
    "classes in columns, the corner is called so": """
| Class | sea | ice |
|---|---|---|
| Accuracy | 0.8 | 0.7 |
| Recall | 0.6 | 0.5 |
----
as Markdown table
the table from line 1
  3 sea accuracy 0.8 (sea Accuracy)
  4 sea recall 0.6 (sea Recall)
  3 ice accuracy 0.7 (ice Accuracy)
  4 ice recall 0.5 (ice Recall)
""",
    "networks in columns": """
| Metric | A1 | B2 |
|---|---|---|
| Accuracy | 0.8 | 0.7 |
| Recall | 0.6 | 0.5 |
----
as Markdown table
A1
  3 <overall> accuracy 0.8 (Accuracy)
  4 <> recall 0.6 (Recall)
B2
  3 <overall> accuracy 0.7 (Accuracy)
  4 <> recall 0.5 (Recall)
""",
    "the measure in the corner, networks in rows": """
| Accuracy | sea | ice | mean |
|---|---|---|---|
| A1 | 0.8 | 0.7 | 0.75 |
----
as Markdown table
Accuracy · A1
  3 sea accuracy 0.8 (sea A1)
  3 ice accuracy 0.7 (ice A1)
  3 <unnamed> accuracy 0.75 (mean A1)
""",
    "the measure in the corner and another in the title": """
Recall by class

| Accuracy | sea | ice | mean |
|---|---|---|---|
| A1 | 0.8 | 0.7 | 0.75 |
----
as Markdown table
Recall by class · A1
  5 sea recall 0.8 (sea A1)
  5 ice recall 0.7 (ice A1)
  5 <unnamed> recall 0.75 (mean A1)
""",
    "columns of one class": """
| Model | Acc_sea | Accuracy |
|---|---|---|
| A1 | 0.8 | 0.7 |
----
as Markdown table
A1 sea
  3 <overall> accuracy 0.8 (Acc_sea)
A1
  3 <overall> accuracy 0.7 (Accuracy)
""",
    "columns of classes, sets and spreads": """
| Model | Split | Acc_sea | Acc_ice | std Acc | Mean of coasts AP | mAP | Params |
|---|---|---|---|---|---|---|---|
| A1 | val | 0.8 | 0.7 | 0.05 | 0.5 | 0.6 | 3 |
| A1 | test | 0.9 | - | 0.05 | 0.5 | 0.7 | 3 |
----
as Markdown table
A1 · val | set val
  3 sea accuracy 0.8 (Acc_sea)
  3 ice accuracy 0.7 (Acc_ice)
  3 <macro> average precision 0.6 (mAP)
A1 · test | set test
  4 sea accuracy 0.9 (Acc_sea)
  4 <macro> average precision 0.7 (mAP)
""",
    "columns of the best epoch": """
| Model | Best accuracy | Highest accuracy |
|---|---|---|
| A1 | 0.8 | 0.7 |
----
as Markdown table
A1
  3 <overall> accuracy 0.8 (Best accuracy)
  3 <overall> accuracy 0.7 (Highest accuracy)
""",
    "more columns without a measure than half, and fewer": """
Per-class accuracy

| Model | sea | ice | Recall | F1 |
|---|---|---|---|---|
| A1 | 0.8 | 0.7 | 0.6 | 0.5 |

Per-class accuracy

| Model | fen | bog | Recall | F1 | AP |
|---|---|---|---|---|---|
| B1 | 0.8 | 0.7 | 0.6 | 0.5 | 0.4 |
----
as Markdown table
Per-class accuracy · A1
  5 sea accuracy 0.8 (sea A1)
  5 ice accuracy 0.7 (ice A1)
  5 Recall accuracy 0.6 (Recall A1)
  5 F1 accuracy 0.5 (F1 A1)
Per-class accuracy · B1
  11 <> recall 0.6 (Recall)
  11 <> F1 0.5 (F1)
  11 <> average precision 0.4 (AP)
""",
    "a row of dots, and a title of 81 letters": """
The accuracy of each class that was measured on the photographs of the second year of it

| Class | Accuracy | Images |
|---|---|---|
| sea | 0.8 | 9 |
| ... | | 3 |
----
as Markdown table
the table from line 3 | sizes {'sea': 9} | partial True
  5 sea accuracy 0.8 (sea Accuracy)
""",
    "networks and best epochs are of no classes beside them": """
Accuracy of sea: 0.8

| Model | Accuracy |
|---|---|
| A1 | 0.9 |

| Metric | Value |
|---|---|
| Best accuracy | 0.7 |

| Metric | Value |
|---|---|
| Accuracy | 0.6 (60/100) |
| mIoU | 0.5 |
----
as label lines, Markdown table
the table from line 1
  1 sea accuracy 0.8 (Accuracy of sea)
A1
  5 <overall> accuracy 0.9 (Accuracy)
the table from line 7
  9 <overall> accuracy 0.7 (Best accuracy)
the table from line 11 | boxes True
  13 <overall> accuracy 0.6 60 of 100 (Accuracy)
  14 <macro> other 0.5 (mIoU)
""",
    "a table of targets and one of tests": """
| Class | Required accuracy | Measured accuracy |
|---|---|---|
| sea | 0.9 | 0.8 |

| Requirement | Threshold | Status |
|---|---|---|
| Accuracy | 0.9 | 0.8 |

| Metric | Expected | Result |
|---|---|---|
| Accuracy | 0.9 | 0.8 |

| Metric | Result |
|---|---|
| Accuracy | 0.7 |
----
as Markdown table
Required
  3 sea accuracy 0.9 (sea Required accuracy)
Measured
  3 sea accuracy 0.8 (sea Measured accuracy)
the table from line 13
  15 <overall> accuracy 0.7 (Accuracy)
""",
    "columns that a program names": """
| metric | value |
|---|---|
| test_acc_sea | 0.9 |
| test_acc_ice | 0.8 |
| test_acc_fen | 0.7 |
| test_loss | 0.1 |
----
as Markdown table
value
  3 sea accuracy 0.9 (test_acc_sea)
  4 ice accuracy 0.8 (test_acc_ice)
  5 fen accuracy 0.7 (test_acc_fen)
""",
    "columns of two such names": """
| metric | value |
|---|---|
| test_acc_sea | 0.9 |
| test_acc_ice | 0.8 |
----
as Markdown table
sea · test | set test
  3 <overall> accuracy 0.9 (test_acc_sea)
ice · test | set test
  4 <overall> accuracy 0.8 (test_acc_ice)
""",
    "similar names with numbers that are no matrix": """
Accuracy of each class

| Class | sea | ice |
|---|---|---|
| sea | 0.9 | 0.8 |
| ice | 0.7 | 0.6 |
----
as Markdown table
Accuracy of each class · sea
  5 sea accuracy 0.9 (sea sea)
  6 ice accuracy 0.7 (ice sea)
Accuracy of each class · ice
  5 sea accuracy 0.8 (sea ice)
  6 ice accuracy 0.6 (ice ice)
""",
    "a matrix with a total below and two columns more": """
| Class | sea | ice | Total | Recall |
|---|---|---|---|---|
| sea | 9 | 1 | 10 | 0.9 |
| ice | 2 | 8 | 10 | 0.8 |
| Total | 11 | 9 | 20 | |
----
as confusion matrix
the confusion matrix from line 1
  3 counts of sea, ice: 9 1; 2 8
""",
    "a matrix with two rows more": """
| Class | sea | ice |
|---|---|---|
| sea | 9 | 1 |
| ice | 2 | 8 |
| Total | 11 | 9 |
| F1 | 0.5 | 0.6 |
----
as Markdown table
sea
  3 sea other 9 (sea sea)
  4 ice other 2 (ice sea)
  5 <unnamed> other 11 (Total sea)
  aside 6 F1 other 0.5 (F1 sea)
ice
  3 sea other 1 (sea ice)
  4 ice other 8 (ice ice)
  5 <unnamed> other 9 (Total ice)
  aside 6 F1 other 0.6 (F1 ice)
""",
    "a matrix with three columns more": """
| Class | sea | ice | Total | Recall | F1 |
|---|---|---|---|---|---|
| sea | 9 | 1 | 10 | 0.9 | 0.5 |
| ice | 2 | 8 | 10 | 0.8 | 0.6 |
----
as Markdown table
the table from line 1 | sizes {'sea': 10, 'ice': 10}
  3 sea recall 0.9 (sea Recall)
  3 sea F1 0.5 (sea F1)
  4 ice recall 0.8 (ice Recall)
  4 ice F1 0.6 (ice F1)
""",
    "epochs in rows, sections and blank names": """
| Epoch | Accuracy |
|---|---|
| 1 | 0.5 |

| Class | Recall |
|---|---|
| | |
| A1 | |
| sea | 0.5 |
| ice | |
| sea | 0.6 |
----
as Markdown table
A1
  9 sea recall 0.5 (sea Recall)
ice
  11 sea recall 0.6 (sea Recall)
""",
    "a summary twelve lines below a table": """
| Class | Recall |
|---|---|
| sea | 0.7 |











Overall accuracy: 0.8
----
as Markdown table
the table from line 1
  3 sea recall 0.7 (sea Recall)
  15 <overall> accuracy 0.8 (Overall accuracy)
""",
    "a summary thirteen lines below a table": """
| Class | Recall |
|---|---|
| sea | 0.7 |












Overall accuracy: 0.8
----
as Markdown table, label lines
the table from line 1
  3 sea recall 0.7 (sea Recall)
line 16: Overall accuracy
  16 <overall> accuracy 0.8 (Overall accuracy)
""",
    "a summary without a set four lines below a table of one": """
Validation set

| Class | Recall |
|---|---|
| sea | 0.7 |



Overall accuracy: 0.8
----
as Markdown table
Validation set · val | set val
  5 sea recall 0.7 (sea Recall)
  9 <overall> accuracy 0.8 (Overall accuracy)
""",
    "a summary without a set five lines below a table of one": """
Validation set

| Class | Recall |
|---|---|
| sea | 0.7 |




Overall accuracy: 0.8
----
as Markdown table, label lines
Validation set · val | set val
  5 sea recall 0.7 (sea Recall)
line 10: Overall accuracy
  10 <overall> accuracy 0.8 (Overall accuracy)
""",
    "tables beside a mean are read by themselves, four of them above and below": """
Accuracy of sea: 0.1
Figure 1
Accuracy of ice: 0.2
Figure 2
Accuracy of fen: 0.3
Figure 3
Accuracy of bog: 0.4
Figure 4
Accuracy of elm: 0.5
Figure 5
Accuracy of oak: 0.6
Mean accuracy: 0.6
Figure 6
Recall of ash: 0.7
Figure 7
Accuracy of ivy: 0.8
Figure 8
Accuracy of yew: 0.9
Figure 9
Accuracy of box: 0.91
Figure 10
Accuracy of fir: 0.92
Figure 11
----
as label lines
Figure 1
  1 sea accuracy 0.1 (Accuracy of sea)
Figure 2
  3 ice accuracy 0.2 (Accuracy of ice)
Figure 3
  5 fen accuracy 0.3 (Accuracy of fen)
Figure 4
  7 bog accuracy 0.4 (Accuracy of bog)
Figure 5
  9 elm accuracy 0.5 (Accuracy of elm)
Figure 6
  11 oak accuracy 0.6 (Accuracy of oak)
  12 <unnamed> accuracy 0.6 (Mean accuracy)
Figure 7
  14 ash recall 0.7 (Recall of ash)
Figure 8
  16 ivy accuracy 0.8 (Accuracy of ivy)
Figure 9
  18 yew accuracy 0.9 (Accuracy of yew)
Figure 10
  20 box accuracy 0.91 (Accuracy of box)
Figure 11
  22 fir accuracy 0.92 (Accuracy of fir)
""",
    "a mean stands with its own table, and another table has none": """
| Class | Accuracy | Recall |
|---|---|---|
| sea | 0.7 | 0.5 |
| mean | 0.7 | |

| Class | Accuracy | Recall |
|---|---|---|
| ice | 0.8 | 0.9 |
| mean | | 0.9 |

| Class | Accuracy |
|---|---|
| ice | 0.6 |
----
as Markdown table
the table from line 1
  3 sea accuracy 0.7 (sea Accuracy)
  3 sea recall 0.5 (sea Recall)
  4 <unnamed> accuracy 0.7 (mean Accuracy)
the table from line 6
  8 ice accuracy 0.8 (ice Accuracy)
  8 ice recall 0.9 (ice Recall)
  9 <unnamed> recall 0.9 (mean Recall)
the table from line 11
  13 ice accuracy 0.6 (ice Accuracy)
""",
    "a table too far from a mean to put it in doubt": """
Accuracy of sea: 0.7
Mean accuracy: 0.7












| Class | Accuracy |
|---|---|
| ice | 0.6 |
----
as label lines, Markdown table
the table from line 1
  1 sea accuracy 0.7 (Accuracy of sea)
  2 <unnamed> accuracy 0.7 (Mean accuracy)
the table from line 15
  17 ice accuracy 0.6 (ice Accuracy)
""",
    "a matrix of another number of classes, and one of the second nearest table": """
| Class | Recall | Samples |
|---|---|---|
| sea | 0.90 | 20 |
| ice | 0.80 | 10 |

| Class | Recall | Samples |
|---|---|---|
| fen | 0.90 | 20 |
| bog | 0.80 | 10 |
| elm | 0.80 | 10 |

[[18 2]
 [2 8]]
----
as Markdown table
the table from line 1 | sizes {'sea': 20, 'ice': 10}
  3 sea recall 0.90 (sea Recall)
  4 ice recall 0.80 (ice Recall)
  12 counts of sea, ice: 18 2; 2 8
the table from line 6 | sizes {'fen': 20, 'bog': 10, 'elm': 10}
  8 fen recall 0.90 (fen Recall)
  9 bog recall 0.80 (bog Recall)
  10 elm recall 0.80 (elm Recall)
""",
    "the third nearest table has no matrix": """
| Class | Recall | Samples |
|---|---|---|
| sea | 0.90 | 20 |
| ice | 0.80 | 10 |

| Class | F1 | Samples |
|---|---|---|
| fen | 0.90 | 7 |
| bog | 0.80 | 7 |

| Class | AP | Samples |
|---|---|---|
| elm | 0.90 | 7 |
| oak | 0.80 | 7 |

[[18 2]
 [2 8]]
----
as Markdown table, confusion matrix
the table from line 1 | sizes {'sea': 20, 'ice': 10}
  3 sea recall 0.90 (sea Recall)
  4 ice recall 0.80 (ice Recall)
the table from line 6 | sizes {'fen': 7, 'bog': 7}
  8 fen F1 0.90 (fen F1)
  9 bog F1 0.80 (bog F1)
the table from line 11 | sizes {'elm': 7, 'oak': 7}
  13 elm average precision 0.90 (elm AP)
  14 oak average precision 0.80 (oak AP)
the confusion matrix from line 16
  16 counts of 0, 1: 18 2; 2 8
""",
    "half of the sizes agree, and rows as well as columns": """
| Class | Recall | Samples |
|---|---|---|
| sea | 0.90 | 20 |
| ice | 0.80 | 11 |

[[18 2]
 [2 8]]

# Other

| Class | Recall | Samples |
|---|---|---|
| fen | 0.33 | 3 |
| bog | 0.33 | 3 |
| elm | 0.33 | 3 |

[[1 2 0]
 [0 1 2]
 [2 0 1]]
----
as Markdown table
the table from line 1 | sizes {'sea': 20, 'ice': 11}
  3 sea recall 0.90 (sea Recall)
  4 ice recall 0.80 (ice Recall)
  6 counts of sea, ice: 18 2; 2 8
Other | sizes {'fen': 3, 'bog': 3, 'elm': 3}
  13 fen recall 0.33 (fen Recall)
  14 bog recall 0.33 (bog Recall)
  15 elm recall 0.33 (elm Recall)
  17 counts of fen, bog, elm: 1 2 0; 0 1 2; 2 0 1
""",
    "a matrix thirty lines below a table": """
| Class | Accuracy |
|---|---|
| sea | 0.9 |
| ice | 0.8 |





























[[18 2]
 [2 8]]
----
as Markdown table
the table from line 1
  3 sea accuracy 0.9 (sea Accuracy)
  4 ice accuracy 0.8 (ice Accuracy)
  34 counts of sea, ice: 18 2; 2 8
""",
    "a matrix thirty-one lines below a table": """
| Class | Accuracy |
|---|---|
| sea | 0.9 |
| ice | 0.8 |






























[[18 2]
 [2 8]]
----
as Markdown table, confusion matrix
the table from line 1
  3 sea accuracy 0.9 (sea Accuracy)
  4 ice accuracy 0.8 (ice Accuracy)
the confusion matrix from line 35
  35 counts of 0, 1: 18 2; 2 8
""",
    "two matrices, and shares in a table with sizes": """
| Class | Accuracy | Samples |
|---|---|---|
| sea | 0.9 | 5 |
| ice | 0.8 | 6 |

[[.9 .1]
 [.2 .8]]

[[.8 .2]
 [.1 .9]]
----
as Markdown table, confusion matrix
the table from line 1 | sizes {'sea': 5, 'ice': 6}
  3 sea accuracy 0.9 (sea Accuracy)
  4 ice accuracy 0.8 (ice Accuracy)
  6 shares of sea, ice: .9 .1; .2 .8
the confusion matrix from line 9
  9 shares of 0, 1: .8 .2; .1 .9
""",
    "a mean that the table has with another value, and with the same one": """
| Class | Accuracy |
|---|---|
| sea | 0.83 |
| ice | 0.91 |
| mean | 0.87 |

Mean accuracy: 0.5
Mean accuracy: 0.880
Macro accuracy: 0.6
Mean recall: 0.4
----
as Markdown table, label lines
the table from line 1
  3 sea accuracy 0.83 (sea Accuracy)
  4 ice accuracy 0.91 (ice Accuracy)
  5 <unnamed> accuracy 0.87 (mean Accuracy)
  8 <unnamed> accuracy 0.880 (Mean accuracy)
  9 <macro> accuracy 0.6 (Macro accuracy)
  10 <unnamed> recall 0.4 (Mean recall)
line 7: Mean accuracy
  7 <unnamed> accuracy 0.5 (Mean accuracy)
""",
    "a summary above a matrix, and one of a measure that the table has not": """
Overall accuracy: 0.86
[[18 2]
 [2 8]]

# Other

| Class | AP |
|---|---|
| sea | 0.9 |

Overall accuracy: 0.7
----
as confusion matrix, Markdown table, label lines
the confusion matrix from line 2
  1 <overall> accuracy 0.86 (Overall accuracy)
  2 counts of 0, 1: 18 2; 2 8
Other
  9 sea average precision 0.9 (sea AP)
line 11: Overall accuracy
  11 <overall> accuracy 0.7 (Overall accuracy)
""",
    "a summary at the same distance from two tables, with captions between": """
| Class | Recall |
|---|---|
| sea | 0.7 |
Table 1
Overall accuracy: 0.8
Figure 2: of all
| Class | Recall |
|---|---|
| ice | 0.6 |
----
as Markdown table, label lines
the table from line 1
  3 sea recall 0.7 (sea Recall)
line 5: Overall accuracy
  5 <overall> accuracy 0.8 (Overall accuracy)
Figure 2: of all
  9 ice recall 0.6 (ice Recall)
""",
    "summaries of sets": """
| Class | Recall |
|---|---|
| sea | 0.7 |

Validation accuracy: 0.9
Test accuracy: 0.8
Training accuracy: 0.99
----
as Markdown table, label lines
the table from line 1 | set test
  3 sea recall 0.7 (sea Recall)
  6 <overall> accuracy 0.8 (Test accuracy)
line 5: Validation accuracy | set val
  5 <overall> accuracy 0.9 (Validation accuracy)
line 7: Training accuracy | set train
  7 <overall> accuracy 0.99 (Training accuracy)
""",
    "networks in rows: sets beside names, counts, blanks": """
| Model | Acc_sea | Acc_ice | Acc_fen |
|---|---|---|---|
| | 0.5 | 0.4 | 0.3 |
| CNN test | 83/100 | 0.7 | 0.6 |
| test | 0.6 | 0.5 | 0.4 |
----
as Markdown table
the table from line 1
  3 sea accuracy 0.5 (Acc_sea)
  3 ice accuracy 0.4 (Acc_ice)
  3 fen accuracy 0.3 (Acc_fen)
CNN test
  4 ice accuracy 0.7 (Acc_ice)
  4 fen accuracy 0.6 (Acc_fen)
test | set test
  5 sea accuracy 0.6 (Acc_sea)
  5 ice accuracy 0.5 (Acc_ice)
  5 fen accuracy 0.4 (Acc_fen)
""",
    "networks over all classes: missing cells, other columns, AP alone and at overlaps": """
| Data | Model | Accuracy | AP | Depth |
|---|---|---|---|---|
| coast | A1 | - | 0.6 | 3 |
| | B2 | 0.9 | 83/100 | 4 |

| Model | AP | AP50 |
|---|---|---|
| C3 | 0.5 | 0.7 |

| Metric | Score |
|---|---|
| AP | 0.5 |
| Our result | 0.3 |
----
as Markdown table
coast A1
  3 <> average precision 0.6 (AP)
coast B2
  4 <overall> accuracy 0.9 (Accuracy)
C3 | boxes True
  8 <macro> average precision 0.5 (AP)
C3 AP50 | boxes True
  8 <macro> average precision 0.7 (AP50)
""",
    "networks in columns, and the measure in the last row alone": """
| Class | A1 | B2 |
|---|---|---|
| sea | 61.2 | 70.1 |
| Recall of ice | 71.2 | 80.1 |
| mean | 66.2 | 75.1 |
| mAP | 66.2 | 75.1 |
----
as Markdown table
A1
  3 sea average precision 61.2 % (sea A1)
  4 Recall of ice average precision 71.2 % (Recall of ice A1)
  5 <unnamed> average precision 66.2 % (mean A1)
  6 <macro> average precision 66.2 % (mAP A1)
B2
  3 sea average precision 70.1 % (sea B2)
  4 Recall of ice average precision 80.1 % (Recall of ice B2)
  5 <unnamed> average precision 75.1 % (mean B2)
  6 <macro> average precision 75.1 % (mAP B2)
""",
    "sections begin their places anew": """
| Class | Recall | Samples |
|---|---|---|
| coast | | |
| average | 0.5 | |
| sea | 0.6 (n=9) | 8 |
| ice | 0.4 (n=7) | |
| fen | 0.4 | |
| bog | 0.4 | |
| elm | 0.4 | |
| oak | 0.4 | |
| ash | 0.4 | |
| std | 0.1 (n=5) | |
----
as Markdown table
coast | sizes {'sea': 8, 'ice': 7}
  4 <unnamed> recall 0.5 (average Recall)
  5 sea recall 0.6 (sea Recall)
  6 ice recall 0.4 (ice Recall)
  7 fen recall 0.4 (fen Recall)
  8 bog recall 0.4 (bog Recall)
  9 elm recall 0.4 (elm Recall)
  10 oak recall 0.4 (oak Recall)
  11 ash recall 0.4 (ash Recall)
  aside 12 std recall 0.1 (std Recall)
""",
    "mean APs in columns of other overlaps": """
| Class | AP50 | AP75 |
|---|---|---|
| sea | 0.8 | 0.6 |
| ice | 0.7 | 0.5 |
| mAP50 | 0.75 | 0.4 |
| mAP75 | 0.3 | 0.55 |
----
as Markdown table
the table from line 1 | boxes True
  3 sea average precision 0.8 (sea AP50)
  4 ice average precision 0.7 (ice AP50)
  5 <macro> average precision 0.75 (mAP50 AP50)
AP75 | boxes True
  3 sea average precision 0.6 (sea AP75)
  4 ice average precision 0.5 (ice AP75)
  6 <macro> average precision 0.55 (mAP75 AP75)
""",
    "HTML that is not closed, with a caption below": """
</table>
<table></table>
<TABLE><td>0.1<tr><th>Class<th>Recall&nbsp;&#37;
<tr><td>sea</b><td>80 <i>&#37;</i> </p></tr></caption> <tr><td>ice<td>70</table></div>

Table 4: Of HTML.

</div>
<table><tr><th>Class<th>F1<tr><td>sea<td>0.5
----
as HTML table
Table 4: Of HTML.
  4 sea recall 80 % (sea Recall %)
  4 ice recall 70 % (ice Recall %)
the table from line 9
  9 sea F1 0.5 (sea F1)
""",
    "HTML with a caption and text around it": """
<table>x<caption>Of <b>all</b></caption>y
<tr>z<th>Class</th>w<th>Recall</th></tr>
<tr><td>sea</td><td rowspan="0">0.5</td></tr>
</table>
----
as HTML table
Of all
  3 sea recall 0.5 (sea Recall)
""",
    "Markdown with three lines, and a quote": """
+-----+----+
| Class | F1 |
+=====+====+
| sea | 0.5 |
+-----+----+

> Class | AP
> ---|---
> ice | 0.4
----
as Markdown table
the table from line 2
  4 sea F1 0.5 (sea F1)
""",
    "separators: names with two separators": """
class;f1,recall
sea;0,5
----
as delimited table
recall
  2 sea F1 0,5 (sea f1,recall)
""",
    "separators: a header with a blank": """
x,accuracy,
A1,0.5,0.6
----
as delimited table
A1
  2 <overall> accuracy 0.5 (accuracy)
""",
    "a dictionary below its label, and one alone": """
{'sea': 0.9, 'ice': 0.8}
Class accuracy
{'sea': 0.9, 'ice': 0.8}
Class recall: {'sea': 0.9, 'ice': }
Class F1: {'sea': 0.9, 'fen' : np.float64(0.8)}
Per-class recall: sea 0.5
Per-class recall: sea 0.5, ice
Recall of it: sea 0.5, ice 0.6
----
as listed values, label lines
Class accuracy
  3 sea accuracy 0.9 (Class accuracy)
  3 ice accuracy 0.8 (Class accuracy)
Class F1
  5 sea F1 0.9 (Class F1)
  5 fen F1 0.8 (Class F1)
the table from line 6
  6 sea recall 0.5 (Per-class recall: sea)
""",
    "lines after a table are one list": """
| Class | Recall |
|---|---|
| sea | 0.7 |
Accuracy of fen: 0.5

Accuracy of bog: 0.4
----
as Markdown table, label lines
the table from line 1
  3 sea recall 0.7 (sea Recall)
the table from line 4
  4 fen accuracy 0.5 (Accuracy of fen)
  6 bog accuracy 0.4 (Accuracy of bog)
""",
    "spaces: headers and rows at their bounds": """
Class  Part 5  Recall
sea   0.1 0.5

Class  Part 5  Top 1  Recall
ice   0.1 0.5 0.6
----
as aligned table
the table from line 1
  2 sea recall 0.5 (sea Recall)
""",
    "spaces: rules, comments and rows of another table": """
# class  recall  support
# ------------------
#
# sea    0.5     10
# accuracy       0.6   x
# ice    0.4     20

text 0.1 0.2
----
as aligned table
the table from line 1
  4 sea recall 0.5 (sea recall)
  5 <overall> accuracy 0.6 (accuracy recall)
  6 ice recall 0.4 (ice recall)
  8 text recall 0.1 (text recall)
""",
    "Weka: rows of numbers without names": """
Precision  Recall  Class
0.5  0.6  sea
0.7  -  blue ice
0.1
----
as aligned table
the table from line 1
  2 sea precision 0.5 (sea Precision)
  2 sea recall 0.6 (sea Recall)
  3 blue ice precision 0.7 (blue ice Precision)
""",
    "spaces: words of summaries and of the accuracy": """
        precision  recall  support
sea     0.5        0.6     10
micro avg          0.7
accuracy           0.8     0.9   11
accuracy           0.8     12
----
as classification_report
the table from line 1 | sizes {'sea': 10} | total 11
  2 sea precision 0.5 (sea precision)
  2 sea recall 0.6 (sea recall)
  3 <micro> recall 0.7 (micro avg recall)
  4 <overall> accuracy 0.8 (accuracy precision)
  4 <overall> accuracy 0.9 (accuracy recall)
""",
    "JSON: a report of two classes, and one of one": """
{"a": {"sea": {"precision": 0.5, "support": 3}, "ice": {"precision": 0.7, "support": 5}, "accuracy": 1},
 "b": {"sea": {"precision": 0.6, "recall": 0.7}},
 "c": {"fen": {"value": 0.5, "set": 3}, "bog": {"value": 0.6, "set": 2}, "accuracy": 0.4}}
----
as JSON
a | sizes {'sea': 3, 'ice': 5}
  1 sea precision 0.5 (sea precision)
  1 ice precision 0.7 (ice precision)
  1 <overall> accuracy 1 (accuracy precision)
b · sea
  2 <> precision 0.6 (precision)
  2 <> recall 0.7 (recall)
c
  3 <overall> accuracy 0.4 (accuracy)
""",
    "JSON: names of classes that speak of measures": """
{"accuracy": {"sea accuracy": 0.5, "Accuracy gain": 0.1, "ice recall": 0.3}}
----
as JSON
the values
  1 sea accuracy accuracy 0.5 (sea accuracy)
  1 Accuracy gain accuracy 0.1 (Accuracy gain)
  1 ice recall accuracy 0.3 (ice recall)
""",
    "lines: means do not reach from one to the next": """
val accuracy of sea: 0.1











Mean accuracy: 0.1











Macro accuracy: 0.2
----
as label lines
the table from line 1 | set val
  1 sea accuracy 0.1 (val accuracy of sea)
  13 <unnamed> accuracy 0.1 (Mean accuracy)
line 25: Macro accuracy
  25 <macro> accuracy 0.2 (Macro accuracy)
""",
    "lines: a loss is of no table": """
Accuracy of sea: 0.5

Test loss: 0.3
----
as label lines
the table from line 1
  1 sea accuracy 0.5 (Accuracy of sea)
""",
    "lines: a line again after another": """
Accuracy of sea: 0.83
Accuracy of ice: 0.91
Accuracy of sea: 0.83
Accuracy of fen: 0.7
----
as label lines
the table from line 1
  1 sea accuracy 0.83 (Accuracy of sea)
  2 ice accuracy 0.91 (Accuracy of ice)
  4 fen accuracy 0.7 (Accuracy of fen)
""",
    "lines: a caption of the first alone cuts them": """
Table 3



Accuracy of sea: 0.1
Accuracy of ice: 0.2
Accuracy of ice: 0.3
Accuracy of fen: 0.4
----
as label lines
Table 3
  5 sea accuracy 0.1 (Accuracy of sea)
  6 ice accuracy 0.2 (Accuracy of ice)
the table from line 7
  7 ice accuracy 0.3 (Accuracy of ice)
  8 fen accuracy 0.4 (Accuracy of fen)
""",
    "lines: one class twice is two lists": """
Accuracy of sea: 0.1
Accuracy of sea: 0.2
----
as label lines
the table from line 1
  1 sea accuracy 0.1 (Accuracy of sea)
the table from line 2
  2 sea accuracy 0.2 (Accuracy of sea)
""",
    "lines: two classes twice are two lists": """
Accuracy of sea: 0.1
Accuracy of ice: 0.2
Accuracy of fen: 0.2
Accuracy of ice: 0.3
Accuracy of sea: 0.4
Accuracy of bog: 0.4
----
as label lines
the table from line 1
  1 sea accuracy 0.1 (Accuracy of sea)
  2 ice accuracy 0.2 (Accuracy of ice)
  3 fen accuracy 0.2 (Accuracy of fen)
the table from line 4
  4 ice accuracy 0.3 (Accuracy of ice)
  5 sea accuracy 0.4 (Accuracy of sea)
  6 bog accuracy 0.4 (Accuracy of bog)
""",
    "lines: a heading above a mean, and comments": """
Accuracy of sea: 0.1
Accuracy of ice: 0.2
# Other
Mean accuracy: 0.15

# Recall of fen: 0.5
# Recall of bog: 0.6
# Mean recall: 0.55
----
as label lines
the table from line 1
  1 sea accuracy 0.1 (Accuracy of sea)
  2 ice accuracy 0.2 (Accuracy of ice)
  6 fen recall 0.5 (Recall of fen)
  7 bog recall 0.6 (Recall of bog)
  8 <unnamed> recall 0.55 (Mean recall)
  4 <unnamed> accuracy 0.15 (Mean accuracy)
""",
    "lines: overlaps are those of one measure": """
AP@0.5 of sea: 0.5
Recall of sea: 0.6
Mean recall: 0.6
mAP@0.5: 0.5
----
as label lines
the table from line 1
  1 sea average precision 0.5 (AP@0.5 of sea)
  2 sea recall 0.6 (Recall of sea)
  3 <unnamed> recall 0.6 (Mean recall)
  4 <macro> average precision 0.5 (mAP@0.5)
""",
    "lines: counts alone": """
Accuracy of sea: 0.1
Accuracy of ice: 0.2
Mean accuracy: 0.2
Accuracy of std: 5/10
Overall accuracy: 7/10
----
as label lines
the table from line 1 | total 10
  1 sea accuracy 0.1 (Accuracy of sea)
  2 ice accuracy 0.2 (Accuracy of ice)
  3 <unnamed> accuracy 0.2 (Mean accuracy)
""",
    "lines: the total of the second summary": """
Accuracy of sea: 0.1
Mean accuracy: 0.2
Overall accuracy: 0.2 (n=50)
----
as label lines
the table from line 1 | total 50
  1 sea accuracy 0.1 (Accuracy of sea)
  2 <unnamed> accuracy 0.2 (Mean accuracy)
  3 <overall> accuracy 0.2 (Overall accuracy)
""",
    "labels: the measure of a mean is that of the class values above": """
Accuracy of sea: 0.8
Accuracy of ice: 0.9
Mean recall: 0.5
Mean: 0.85
Class: fen, precision: 0.8, recall: 0.9
Mean: 0.7
----
as label lines
the table from line 1
  1 sea accuracy 0.8 (Accuracy of sea)
  2 ice accuracy 0.9 (Accuracy of ice)
  3 <unnamed> recall 0.5 (Mean recall)
  4 <unnamed> accuracy 0.85 (Mean)
  5 fen precision 0.8 (precision)
  5 fen recall 0.9 (recall)
line 6: Mean
  6 <unnamed> recall 0.7 (Mean)
""",
    "labels: a number without its point, lists behind a value, a class and a measure below a heading": """
0765% = sea AP
F1: 0.5 sea: precision 0.9, recall 0.8
Accuracy of fen : 0.5, F1 of fen : 0.6 and that of b c d e
Recall of each class:
Per-class accuracy: oak: 0.4
----
as label lines
the table from line 5
  5 oak accuracy 0.4 (oak)
  2 <> F1 0.5 (F1)
""",
    "LaTeX: an end that is missing, rows after the end, a name over rows": """
\\begin{array}{l}
\\begin{tabular}{ll}
Class & F1 \\\\
\\multirow{*}{*}{sea} & 0.5 \\\\
ice & 0.6 \\\\
\\end{tabular}
fen & 0.7 \\\\
Accuracy of elm: 0.4
----
as LaTeX table, label lines
the table from line 3
  4 sea F1 0.5 (sea F1)
  5 ice F1 0.6 (ice F1)
the table from line 8
  8 elm accuracy 0.4 (Accuracy of elm)
""",
    "numbers under names alone, the last one missing": """
Per-class accuracy

| sea | ice | mean |
|---|---|---|
| 0.83 | 0.87 | |
----
as Markdown table
Per-class accuracy
  5 sea accuracy 0.83 (sea)
  5 ice accuracy 0.87 (ice)
""",
    "one value a row, beside a note": """
| Class | Metric | Value | Note |
|---|---|---|---|
| sea | precision | 0.8 | x |
| ice | precision | 0.7 | y |
----
as Markdown table
precision
  3 sea other 0.8 (sea Value)
  4 ice other 0.7 (ice Value)
""",
    "one class beside a mean": """
Per-class accuracy

| Model | sea | mean |
|---|---|---|
| A1 | 0.8 | 0.7 |

Accuracy of fen: 0.5
----
as label lines
the table from line 7
  7 fen accuracy 0.5 (Accuracy of fen)
""",
    "a long title": """
# The accuracy of each class that was measured on the photographs of the second year of it

| Class | Accuracy |
|---|---|
| sea | 0.8 |
----
as Markdown table
The accuracy of each class that was measured on the photographs of the second ye
  5 sea accuracy 0.8 (sea Accuracy)
""",
    "lists apart from the first": """
Per-class F1: sea 70%, ice 60%

Recall per class: sea 90%, fen 80%
Precision per class: sea 91%, fen 81%
Per-class accuracy: sea +5%, fen 82%
----
as listed values
Per-class F1
  1 sea F1 70% (Per-class F1)
  1 ice F1 60% (Per-class F1)
Recall per class
  3 sea recall 90% (Recall per class)
  3 fen recall 80% (Recall per class)
  4 sea precision 91% (Precision per class)
  4 fen precision 81% (Precision per class)
Per-class accuracy
  5 fen accuracy 82% (Per-class accuracy)
""",
    "a dictionary at the beginning, a label at the end": """
{'sea': 0.9, 'ice': 0.8}
Recall of fen: 0.1
Class accuracy
----
as label lines
the table from line 2
  2 fen recall 0.1 (Recall of fen)
""",
    "AP alone beside another measure": """
| Model | AP | IoU |
|---|---|---|
| A1 | 0.5 | 0.4 |
----
as Markdown table
A1 | boxes True
  3 <> average precision 0.5 (AP)
""",
    "a table twelve lines from a mean": """
| Class | Accuracy |
|---|---|
| sea | 0.7 |
| mean | 0.7 |











| Class | Accuracy |
|---|---|
| ice | 0.6 |
----
as Markdown table
the table from line 1
  3 sea accuracy 0.7 (sea Accuracy)
  4 <unnamed> accuracy 0.7 (mean Accuracy)
the table from line 16
  18 ice accuracy 0.6 (ice Accuracy)
""",
    "means of a measure that the classes beside have not": """
| Class | Accuracy |
|---|---|
| sea | 0.7 |
| mean | 0.7 |
| macro avg | 0.7 |

| Class | Recall |
|---|---|
| ice | 0.6 |
| accuracy | 0.5 |
----
as Markdown table
the table from line 1
  3 sea accuracy 0.7 (sea Accuracy)
  4 <unnamed> accuracy 0.7 (mean Accuracy)
  5 <macro> accuracy 0.7 (macro avg Accuracy)
the table from line 7
  9 ice recall 0.6 (ice Recall)
  10 <overall> accuracy 0.5 (accuracy Recall)
""",
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_all_that_a_document_says_is_read_and_nothing_else(document: str) -> None:
    text, _, expected = document.strip("\n").partition("\n----\n")
    assert everything(read(text)) == expected.split("\n")
